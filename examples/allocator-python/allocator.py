#!/usr/bin/env python3
"""An allocator for allot in one file: docs/allocator-protocol.md in Python."""
import argparse, asyncio, copy, itertools, os, re, secrets, signal, time
from collections import Counter, defaultdict, namedtuple
from fractions import Fraction

import nats
from allot.v1 import pool_pb2 as v1
from google.protobuf.message import DecodeError

BEAT_EVERY, HELLO_EVERY, ANSWER_WITHIN, SET_ASIDE = 0.5, 1, 5, 5  # seconds
MOST_GRANTS = 200  # of one pass, which must not take so long that a beat is late
# The policies: the job with the least key is next, and of equals the one that was submitted first.
POLICIES = {
    "fifo": lambda job, shares: (),
    "priority": lambda job, shares: (-job.priority,),
    "fair": lambda job, shares: (shares.get("cpus", 0), job.queue, -job.priority),
    "drf": lambda job, shares: (max(shares.values(), default=0), job.queue, -job.priority),
}
Offer = namedtuple("Offer", "version free until")
Place = namedtuple("Place", "job task agent version sent")
span = lambda tasks: range(tasks.first_task, tasks.last_task + 1)


def plain(resources):
    """The plain amounts by name. Named items and ranges are left out, as if there were none."""
    return Counter({name: amount.scalar_units for name, amount in resources.amounts.items()})


def holds(constraint, agent):
    """Whether the agent is as the constraint wants it: docs/job.md, "Constraints"."""
    words = re.findall(r'"(?:[^"\\]|\\.)*"|[(),]|[=!<>~]+|[^\s"(),=!<>~\\]+', constraint)
    words = [re.sub(r"\\(.)", r"\1", word[1:-1]) if word[0] == '"' else word for word in words]
    known = {**agent.attributes, "agent.id": agent.agent, "agent.host": agent.host}
    match words:
        case ["exists", name]: return name in known
        case ["not", "exists", name]: return name not in known
        case [name, "==", wanted]: return known.get(name) == wanted
        case [name, "!=", unwanted]: return known.get(name) != unwanted
        case [name, "in", "(", *listed, ")"]: return known.get(name) in listed[::2]
        case [name, "not", "in", "(", *listed, ")"]: return known.get(name) not in listed[::2]
    return False  # the other forms are left out: the job waits for an allocator that knows them


class Allocator:
    """What is known of the pool, all of it from the feed; and the grants that follow from it."""

    def __init__(self, policy):
        self.instance, self.policy = f"python-{os.getpid()}-{secrets.token_hex(4)}", f"python-{policy}"
        self.rank, self.number = POLICIES[policy], 0  # the numbers of grants never start again
        self.forget()

    def forget(self):
        self.at = self.epoch = None
        self.waiting, self.used = defaultdict(dict), defaultdict(Counter)
        self.weights, self.jobs, self.agents, self.offers, self.aside, self.flight = {}, {}, {}, {}, {}, {}

    def hear(self, message):
        """Takes what is said to all, in order. After a gap, or in a new session, everything has to be asked for."""
        feed = v1.Feed.FromString(message.data)
        place = (feed.session, feed.sequence)
        if self.at and place == (self.at[0], self.at[1] + 1):
            self.at = place
            self.apply(feed.items)
        elif self.at and place > self.at:
            self.at = None

    def apply(self, items):
        now = time.monotonic()
        for item in items:
            kind = item.WhichOneof("change")  # none where it is newer than this program, which then skips it
            change = kind and getattr(item, kind)
            match kind:
                case "active": self.epoch = change.epoch if change.instance == self.instance else None
                case "queue": self.weights[change.queue] = change.weight
                case "job": self.jobs[change.job] = change
                case "pending" if change.job in self.jobs: self.waiting[change.job].update(dict.fromkeys(span(change)))
                case "withdrawn": self.withdraw(change)
                case "job_ended": self.jobs.pop(change.job, None), self.waiting.pop(change.job, None)
                case "agent": self.agents[change.agent] = change
                case "agent_left": self.agents.pop(change.agent, None)
                case "offer":
                    self.offers[change.agent] = Offer(change.version, plain(change.free), now + change.ttl_us / 1e6)
                case "rescinded": self.offers.pop(change.agent, None)
                case "allocated": self.on_allocated(change)
                case "released": self.charge(change, change.tasks, -1)
                case "refused": self.on_refused(change)

    def withdraw(self, tasks):
        for task in span(tasks): self.waiting[tasks.job].pop(task, None)

    def charge(self, held, tasks, sign):
        slots = held.slots if held.HasField("slots") else len(span(tasks))
        self.used[held.queue].update({name: sign * units * slots for name, units in plain(held.slice).items()})

    def on_allocated(self, committed):
        self.flight.pop((committed.epoch, committed.grant), None)
        for placement in committed.placements:
            self.withdraw(placement.run)
            self.charge(placement, placement.run, 1)

    def on_refused(self, refused):
        place = self.flight.pop((refused.epoch, refused.grant), None)
        if refused.code == v1.REFUSAL_CODE_NOT_ACTIVE:
            self.at = None if refused.epoch == self.epoch else self.at
        elif place and refused.code not in (v1.REFUSAL_CODE_NOT_FREE, v1.REFUSAL_CODE_AGENT_UNAVAILABLE):
            self.aside[place.job.job] = time.monotonic() + SET_ASIDE
        elif place and self.offers.get(place.agent, place).version <= place.version:
            self.offers.pop(place.agent, None)  # there will be another

    def decide(self, now):
        """One pass: grants until nothing more fits on what is left beside all grants that have no answer yet."""
        if any(place.sent + ANSWER_WITHIN <= now for place in self.flight.values()):
            self.at = None  # an answer was lost
            return []
        capacity = sum((plain(agent.total) for agent in self.agents.values()), Counter())
        free = {name: Counter(offer.free) for name, offer in sorted(self.offers.items()) if offer.until > now}
        waiting = {id: dict(tasks) for id, tasks in self.waiting.items() if self.aside.get(id, 0) <= now}
        used, grants = copy.deepcopy(self.used), []

        def take(place):
            free.get(place.agent, Counter()).subtract(place.job.resources_units)
            used[place.job.queue].update(place.job.resources_units)
            waiting.get(place.job.job, {}).pop(place.task, None)
        def key(job):
            has, weight = used[job.queue], self.weights.get(job.queue, 1)
            shares = {name: Fraction(has[name], capacity[name] * weight) for name in has if capacity[name]}
            return (*self.rank(job, shares), job.submitted_at_us, job.job)
        def fits(job, agent):
            roomy = all(free[agent][name] >= units for name, units in job.resources_units.items())
            return roomy and agent in self.agents and all(holds(c, self.agents[agent]) for c in job.constraints)
        for place in self.flight.values(): take(place)
        while len(grants) < MOST_GRANTS and (jobs := [self.jobs[id] for id, tasks in waiting.items() if tasks]):
            job = min(jobs, key=key)
            agent = next((agent for agent in free if fits(job, agent)), None)
            if agent is None or job.min_tasks > 1:  # gangs are left out
                del waiting[job.job]  # nothing gets freer during a pass
            else:
                take(place := Place(job, next(iter(waiting[job.job])), agent, self.offers[agent].version, now))
                grants.append(self.grant(place))
        return grants

    def grant(self, place):
        self.number += 1
        self.flight[self.epoch, self.number] = place
        tasks = {"job": place.job.job, "first_task": place.task, "last_task": place.task}
        slice = {"amounts": {name: {"scalar_units": units} for name, units in place.job.resources_units.items()}}
        placement = {"agent": place.agent, "version": place.version, "tasks": tasks, "slice": slice}
        return v1.AllocatorMessage(grant={"epoch": self.epoch, "grant": self.number, "placements": [placement]})


async def main(args):
    allocator, stop, beat_at, hello_at = Allocator(args.policy), asyncio.Event(), 0, 0
    for number in (signal.SIGINT, signal.SIGTERM): asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await nats.connect(args.nats, name=allocator.policy, max_reconnect_attempts=-1)
    # The feed comes before any hello, so that nothing falls between the account and what follows it.
    feed = await client.subscribe("allot.v1.pool.default.offers")
    answers = await client.subscribe(inbox := client.new_inbox())

    async def say(*messages, reply=""):
        said = v1.FromAllocator(instance=allocator.instance, messages=messages)
        await client.publish("allot.v1.pool.default.grants", said.SerializeToString(), reply=reply)

    async def ask():
        """Says hello and takes the account, part by part. What is said to all meanwhile waits in `feed`."""
        while answers.pending_msgs: await answers.next_msg()  # of an earlier hello
        await say(v1.AllocatorMessage(hello={"policy": allocator.policy}), reply=inbox)
        allocator.forget()
        for number in itertools.takewhile(lambda _: not allocator.at, itertools.count()):
            part = v1.Feed.FromString((await answers.next_msg(HELLO_EVERY)).data)
            if not part.sync or part.part != number: break  # nobody is there, or a part was lost
            allocator.apply(part.items)
            if number % 20 == 19: await say(v1.AllocatorMessage(beat={"policy": allocator.policy}))  # a long one
            if part.sync in (v1.SYNC_PART_LAST, v1.SYNC_PART_ONLY): allocator.at = (part.session, part.sequence)

    while not stop.is_set():
        try:
            if allocator.at is None:
                await asyncio.sleep(hello_at - time.monotonic())
                hello_at = time.monotonic() + HELLO_EVERY
                await ask()
            allocator.hear(await feed.next_msg(0.1))
            while feed.pending_msgs: allocator.hear(await feed.next_msg())
        except (nats.errors.TimeoutError, DecodeError): pass  # what cannot be read leaves a gap
        grants = allocator.decide(time.monotonic()) if allocator.at and allocator.epoch else []
        if allocator.at and (grants or time.monotonic() >= beat_at):
            beat_at = time.monotonic() + BEAT_EVERY
            await say(v1.AllocatorMessage(beat={"policy": allocator.policy}), *grants)
    await say(v1.AllocatorMessage(goodbye={}))
    await client.flush()
    await client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nats", default=os.environ.get("ALLOT_NATS", "nats://127.0.0.1:4222"), help="the server")
    parser.add_argument("--policy", choices=POLICIES, default="fifo", help="how jobs rank")
    asyncio.run(main(parser.parse_args()))
