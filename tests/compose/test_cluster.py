"""A whole allot in containers: jobs go in through NATS and run, and the policy is replaced under load."""

import collections
import contextlib
import os
import unittest

from cluster import Cluster, until

AGENTS = 3
CLUSTER = Cluster("plain")


def setUpModule():
    CLUSTER.up(AGENTS)


class ClusterTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.bus = await CLUSTER.connect()
        self.addAsyncCleanup(self.bus.client.close)
        await self.bus.ready_agents(AGENTS)
        await until(self.bus.active_policy)

    async def test_every_container_becomes_healthy(self):
        await until(CLUSTER.states, lambda states: states == ["healthy"] * (4 + AGENTS))

    async def test_a_job_published_with_a_plain_client_runs_and_its_output_is_read_back(self):
        job = await self.bus.submit(
            "research.vision",
            {"command": ["sh", "-c", "echo task $ALLOT_TASK_INDEX of $ALLOT_TASK_COUNT"], "tasks": 2, "resources": {"cpus": 0.5}},
        )
        view = await self.bus.ended(job)
        self.assertEqual((view["state"], view["queue"]), ("finished", "research.vision"), view)
        self.assertEqual(await self.bus.output(job, 1), "task 1 of 2\n")
        self.assertEqual(CLUSTER.compose("run", "--rm", "-T", "cli", "logs", f"{job}.0"), "task 0 of 2\n")

    async def test_the_command_line_runs_a_job_in_the_cluster(self):
        printed = CLUSTER.compose("run", "--rm", "-T", "cli", "run", "--", "echo", "hello")
        self.assertIn("hello\n", printed)

    async def test_a_bad_job_is_rejected_with_the_field_and_the_next_one_runs(self):
        bad = await self.bus.submit("research", {"command": ["true"], "resources": {"cpus": -1}})
        good = await self.bus.submit("research", {"command": ["true"]})
        rejected = await self.bus.ended(bad)
        self.assertEqual((rejected["state"], rejected["rejection"]["field"]), ("rejected", "resources.cpus"))
        self.assertEqual((await self.bus.ended(good))["state"], "finished")

    async def test_replacing_the_policy_under_a_thousand_tasks_loses_none_and_runs_none_twice(self):
        tasks, at_once = 1_000, AGENTS * 100
        ran, gate = CLUSTER.shared / "ran", closed_gate("policy")
        job = await self.bus.submit(
            "research",
            # A task notes that it runs, then waits until the gate has a writer.
            {"command": ["sh", "-c", 'echo "$ALLOT_TASK_INDEX" >>/shared/ran; : </shared/policy'], "tasks": tasks, "resources": {"cpus": 0.1}},
        )
        counts = lambda view: view["counts"]
        await until(lambda: self.bus.job(job), lambda view: counts(view)["running"] == at_once)

        before = await self.bus.active_policy()
        after = "fifo" if before != "fifo" else "drf"
        CLUSTER.compose("up", "--detach", "--no-deps", "allocator", ALLOT_POLICY=after)
        await until(self.bus.active_policy, lambda policy: policy == after)
        untouched = counts(await self.bus.job(job))
        self.assertEqual((untouched["running"], untouched["queued"]), (at_once, tasks - at_once), untouched)

        with open_gate(gate):
            view = await self.bus.ended(job, within=180)
        self.assertEqual((view["state"], counts(view)["finished"]), ("finished", tasks), view)
        # Nothing was tried before. An attempt's number may be larger than 1: what an agent hands back has not run.
        self.assertEqual([run for run in view["runs"] if run.get("earlier")], [])
        self.assertEqual(collections.Counter(map(int, ran.read_text().split())), collections.Counter(range(tasks)))

    async def test_an_agent_that_is_killed_comes_back_as_itself_and_its_tasks_are_tried_again(self):
        gate, tasks = closed_gate("agents"), 30
        before = {agent["agent"] for agent in await self.bus.ready_agents(AGENTS)}
        job = await self.bus.submit(
            "research",
            {"command": ["sh", "-c", ": </shared/agents"], "tasks": tasks, "retries": 1, "backoff": "0s"},
        )
        await until(lambda: self.bus.job(job), lambda view: view["counts"]["running"] == tasks)
        CLUSTER.compose("restart", "--timeout", "0", "agent")
        with open_gate(gate):
            view = await self.bus.ended(job)
        self.assertEqual((view["state"], [run["attempt"] for run in view["runs"]]), ("finished", [2] * len(view["runs"])))
        self.assertEqual({run["earlier"][0]["reason"] for run in view["runs"]}, {"agent_restarted"})
        self.assertEqual({agent["agent"] for agent in await self.bus.ready_agents(AGENTS)}, before)

    async def test_everything_goes_on_after_nats_was_killed(self):
        before = await self.bus.submit("research", {"command": ["true"]})
        await self.bus.ended(before)
        CLUSTER.compose("kill", "-s", "SIGKILL", "nats")
        CLUSTER.compose("up", "--detach", "--no-deps", "nats")
        after = await until(lambda: self.bus.submit("research", {"command": ["true"]}))
        self.assertGreater(after, before)
        self.assertEqual((await self.bus.ended(after))["state"], "finished")
        self.assertEqual((await self.bus.job(before))["state"], "finished")


def closed_gate(name):
    """Where tasks that open it for reading wait: a pipe that nobody writes to."""
    gate = CLUSTER.shared / name
    os.mkfifo(gate)
    # Tasks run as the image's user.
    gate.chmod(0o666)
    return gate


@contextlib.contextmanager
def open_gate(gate):
    """Whoever waits at the gate, or comes to it, passes."""
    writer = os.open(gate, os.O_RDWR)
    try:
        yield
    finally:
        os.close(writer)
