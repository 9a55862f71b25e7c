"""Plays the example of docs/allocator-protocol.md to the allocator in Python, which must answer as the page says.

Prints who says each message, and its bytes in hexadecimal digits, one message a line.
"""
import re
import sys
from types import SimpleNamespace

import allocator
from allot.v1 import pool_pb2 as v1
from google.protobuf import json_format

BLOCK = re.compile(r"```json (allocator|offers)\n(.*?)```", re.DOTALL)


def messages(page):
    for who, text in BLOCK.findall(page):
        yield who, json_format.Parse(text, v1.Feed() if who == "offers" else v1.FromAllocator())


def take(mine, feed):
    if feed.sync:
        mine.forget()
        mine.apply(feed.items)
        mine.at = (feed.session, feed.sequence)
    else:
        mine.hear(SimpleNamespace(data=feed.SerializeToString()))


def main(path):
    mine = allocator.Allocator("fifo")
    mine.instance = "mine-1"
    granted = []
    for who, message in messages(open(path, encoding="utf-8").read()):
        print(who, message.SerializeToString().hex())
        if who == "offers":
            assert granted == [], f"the page does not show these grants: {granted}"
            take(mine, message)
            granted = mine.decide(0) if mine.at else []
            continue
        said = {kind: [m for m in message.messages if m.HasField(kind)] for kind in ("hello", "grant")}
        assert said["grant"] == granted, f"on the page:\n{said['grant']}\nand really:\n{granted}"
        assert bool(said["hello"]) == (mine.at is None), f"whether it says hello: {message}"
        granted = []


main(sys.argv[1])
