#!/usr/bin/env python3
"""An agent of allot 0.1, from its messages as they were: it runs commands, and does no more than an agent has to."""
import argparse, asyncio, os, signal, time

import nats
from allot.v1 import agent_pb2 as v1, job_pb2 as jobs

REPEAT_EVERY = 0.5  # seconds


def now_us():
    return time.time_ns() // 1000


class Agent:
    def __init__(self, bus, name, cpus):
        self.bus, self.name, self.root = bus, name, f"allot.v1.agent.{name}"
        self.facts = v1.AgentFacts(id=name, incarnation=time.time_ns(), host=name, program_version="0.1.0")
        self.facts.resources.amounts["cpus"].scalar_units = cpus * 1000
        self.epoch = self.allocations = self.sequence = 0
        self.begun, self.processes, self.reasons, self.unsent = set(), {}, {}, []

    async def live(self):
        await self.bus.subscribe(f"{self.root}.orders", cb=self.on_orders)
        while True:
            await self.sign_of_life()
            await self.repeat()
            await asyncio.sleep(REPEAT_EVERY)

    async def sign_of_life(self):
        """A beat; where the registry does not know us, a hello."""
        beat = v1.Beat(agent=self.name, incarnation=self.facts.incarnation)
        try:
            answer = v1.Welcome.FromString(
                (await self.bus.request(f"{self.root}.beat", beat.SerializeToString(), timeout=1)).data
            )
            if answer.WhichOneof("answer") == "hello_needed":
                hello = v1.Hello(facts=self.facts)
                await self.bus.request(f"{self.root}.hello", hello.SerializeToString(), timeout=1)
        except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
            pass  # the next one

    async def repeat(self):
        for batch in self.unsent:
            batch.allocations = self.allocations
            await self.bus.publish(f"{self.root}.reports", batch.SerializeToString())

    async def report(self, run, **event):
        self.sequence += 1
        batch = v1.ReportBatch(agent=self.name, incarnation=self.facts.incarnation, sequence=self.sequence)
        batch.reports.append(v1.Report(run=run, **event))
        self.unsent.append(batch)
        await self.repeat()

    async def on_orders(self, message):
        batch = v1.OrderBatch.FromString(message.data)
        if batch.incarnation != self.facts.incarnation or batch.epoch < self.epoch:
            return
        self.epoch, self.allocations = batch.epoch, max(self.allocations, batch.allocations)
        for order in batch.orders:
            match order.WhichOneof("order"):
                case "launch":
                    spec = batch.jobs[order.launch.job_index].spec
                    for run in self.single(order.launch.run):
                        if self.key(run) not in self.begun:
                            self.begun.add(self.key(run))
                            asyncio.ensure_future(self.run(run, spec))
                case "kill":
                    for run in self.single(order.kill.run):
                        await self.stop(run, order.kill.reason)
                case "reconcile":
                    wanted = {self.key(run) for runs in order.reconcile.wanted for run in self.single(runs)}
                    for key in [key for key in self.processes if key not in wanted]:
                        self.end(key, jobs.REASON_NOT_WANTED)
                case "acknowledge":
                    self.unsent = [batch for batch in self.unsent if batch.sequence > order.acknowledge.sequence]

    def single(self, run):
        """The attempts of a run, one by one."""
        for task in range(run.first_task, run.last_task + 1):
            yield jobs.AttemptRun(job=run.job, first_task=task, last_task=task, attempt=run.attempt)

    def key(self, run):
        return run.job, run.first_task, run.attempt

    def end(self, key, reason):
        process = self.processes[key]
        if process.returncode is None:
            self.reasons[key] = reason
            os.killpg(process.pid, signal.SIGTERM)

    async def stop(self, run, reason):
        key = self.key(run)
        if key in self.processes:
            self.end(key, reason)
        elif key not in self.begun:  # it never begins
            self.begun.add(key)
            gone = {"state": jobs.TASK_STATE_GONE, "reason": jobs.REASON_UNKNOWN_TO_AGENT}
            await self.report(run, ended=v1.Report.Ended(ended_at_us=now_us(), **gone))

    async def run(self, run, spec):
        argv = list(spec.argv.args) if spec.WhichOneof("command") == "argv" else ["/bin/sh", "-c", spec.shell]
        task = {"ALLOT_JOB_ID": str(run.job), "ALLOT_TASK_INDEX": str(run.first_task), "ALLOT_AGENT": self.name}
        key, started = self.key(run), now_us()
        process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **spec.env, **task}, start_new_session=True)
        self.processes[key] = process
        await self.report(run, started=v1.Report.Started(at_us=started))
        code = await process.wait()
        del self.processes[key]
        ended = v1.Report.Ended(started_at_us=started, ended_at_us=now_us())
        ended.outcome.wall_us = ended.ended_at_us - started
        if code < 0:
            ended.outcome.signal = -code
        else:
            ended.outcome.exit_code = code
        if key in self.reasons:
            ended.state, ended.reason = jobs.TASK_STATE_KILLED, self.reasons[key]
        elif code == 0:
            ended.state, ended.reason = jobs.TASK_STATE_FINISHED, jobs.REASON_EXITED_ZERO
        else:
            reason = jobs.REASON_SIGNALLED if code < 0 else jobs.REASON_EXITED_NONZERO
            ended.state, ended.reason = jobs.TASK_STATE_FAILED, reason
        await self.report(run, ended=ended)


async def main():
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--nats", required=True)
    words.add_argument("--id", required=True)
    words.add_argument("--cpus", type=int, default=4)
    words = words.parse_args()
    bus = await nats.connect(words.nats, max_reconnect_attempts=-1)
    await Agent(bus, words.id, words.cpus).live()


asyncio.run(main())
