"""Two dispatchers and two allocators: whichever of them is killed, the other goes on with its work."""

import collections
import subprocess
import unittest

from cluster import Cluster, until

CLUSTER = Cluster("replicas")


def setUpModule():
    CLUSTER.up(agents=1, dispatcher=2, allocator=2)


class ReplicasTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.bus = await CLUSTER.connect()
        self.addAsyncCleanup(self.bus.client.close)
        await self.bus.ready_agents(1)
        await until(self.bus.active_policy)

    async def test_every_container_becomes_healthy(self):
        await until(CLUSTER.states, lambda states: states == ["healthy"] * 7)

    async def test_one_of_each_is_active_and_the_other_is_known_to_stand_by(self):
        roles = lambda services: sorted(one["standing"]["role"] for one in services if one["name"] == "allot-dispatcher")
        await until(CLUSTER.services, lambda services: roles(services) == ["active", "standby"])
        view = await self.bus.ask("allot.v1.pool.default.policy")
        self.assertEqual(sorted(one["active"] for one in view["allocators"]), [False, True], view)

    async def test_jobs_go_on_while_one_after_the_other_is_killed(self):
        await self.lose_one_after_the_other("dispatcher")

    async def test_tasks_are_placed_while_one_allocator_after_the_other_is_killed(self):
        await self.lose_one_after_the_other("allocator")

    async def lose_one_after_the_other(self, service):
        tasks = 600
        ran = CLUSTER.shared / f"ran-with-{service}"
        job = await self.bus.submit(
            "research",
            {"command": ["sh", "-c", f'echo "$ALLOT_TASK_INDEX" >>/shared/{ran.name}; sleep 0.1'], "tasks": tasks},
        )
        count = lambda: len(ran.read_text().split()) if ran.exists() else 0
        containers = CLUSTER.compose("ps", "--quiet", service).split()
        self.assertEqual(len(containers), 2)
        # Each in turn, so that the active one was among them, whichever it was.
        for container in containers:
            docker("kill", container)
            before = count()
            await until(self.answer(count), lambda now: now >= before + tasks // 6)
            docker("start", container)
        view = await self.bus.ended(job, within=180)
        self.assertEqual((view["state"], view["counts"]["finished"]), ("finished", tasks), view)
        self.assertEqual(collections.Counter(map(int, ran.read_text().split())), collections.Counter(range(tasks)))

    @staticmethod
    def answer(question):
        async def same():
            return question()

        return same


def docker(*arguments):
    subprocess.run(["docker", *arguments], capture_output=True, check=True)
