#!/usr/bin/env python3
"""Simulate a log in Standard Workload Format with AccaSim, first come first served, on one machine.

Prints one line of JSON: {"version": …, "jobs": N, "seconds": …}, the time that AccaSim takes to read and simulate it. Exits with
3 where there is no AccaSim: `pip install accasim`.

    benches/run_accasim.py --cores N LOG
"""

import argparse
import collections
import collections.abc
import contextlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
import time

NOT_THERE = 3
# AccaSim 1.1.3 looks for these where Python had them before 3.10.
for name in ("Callable", "Hashable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))


def main() -> None:
    """Simulate it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, required=True, help="how many the machine has")
    parser.add_argument("log", help="the log")
    args = parser.parse_args()
    log = os.path.abspath(args.log)
    try:
        from accasim.base.allocator_class import FirstFit
        from accasim.base.scheduler_class import FirstInFirstOut
        from accasim.base.simulator_class import Simulator
    except ImportError:
        sys.exit(NOT_THERE)
    system = {
        "groups": {"machine": {"core": args.cores, "mem": 10**12}},
        "resources": {"machine": 1},
        "equivalence": {"processor": {"core": 1}},
        "start_time": start_of(log),
    }
    with tempfile.TemporaryDirectory() as directory:
        config = os.path.join(directory, "system.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(system, file)
        # It tells on standard output how it gets on.
        with contextlib.redirect_stdout(io.StringIO()):
            begun = time.perf_counter()
            simulator = Simulator(log, config, FirstInFirstOut(FirstFit()), RESULTS_FOLDER_PATH=directory)
            simulator.start_simulation()
            seconds = time.perf_counter() - begun
    with open(log, encoding="utf-8") as file:
        jobs = sum(1 for line in file if not line.startswith(";"))
    print(json.dumps({"version": importlib.metadata.version("accasim"), "jobs": jobs, "seconds": seconds}))


def start_of(log: str) -> int:
    """When the log begins, seconds since 1970."""
    with open(log, encoding="utf-8") as file:
        said = re.search(r"^; *UnixStartTime: *(\d+)", file.read(), re.MULTILINE)
    return int(said.group(1)) if said else 0


if __name__ == "__main__":
    main()
