"""A cluster with permissions: it works for those who may, and refuses the others."""

import unittest

import nats

from cluster import UNAVAILABLE, Cluster, quietly, until

PASSWORDS = {user: f"secret-of-{user}" for user in ["research", "finance", "operator", "agent", "allocator", "service"]}
CLUSTER = Cluster(
    "tenants",
    "deploy/compose.tenants.yml",
    **{f"ALLOT_PASSWORD_{user.upper()}": password for user, password in PASSWORDS.items()},
)


def setUpModule():
    CLUSTER.up(agents=1)


class TenantsTest(unittest.IsolatedAsyncioTestCase):
    async def connect(self, user, **options):
        """A connection as this party, and what the server complains of."""
        complaints = []

        async def note(error):
            complaints.append(str(error))

        inbox = f"_INBOX_{user}".encode()
        bus = await CLUSTER.connect(
            user=user, password=PASSWORDS[user], inbox_prefix=inbox, error_cb=note, **options
        )
        self.addAsyncCleanup(bus.client.close)
        return bus, complaints

    async def asyncSetUp(self):
        self.operator, _ = await self.connect("operator")
        await self.operator.ready_agents(1)

    async def test_a_tenant_submits_to_its_own_queues_and_the_cluster_works(self):
        research, complaints = await self.connect("research")
        job = await research.submit("research.vision", {"command": ["echo", "hello"]})
        self.assertEqual((await research.ended(job))["state"], "finished")
        self.assertEqual(await self.operator.output(job, 0), "hello\n")
        self.assertEqual(CLUSTER.compose("run", "--rm", "-T", "cli", "logs", f"{job}.0"), "hello\n")
        self.assertEqual(complaints, [])
        # The tests' own clients are Python; the server names the language of whoever it refuses something.
        refused = [line for line in CLUSTER.compose("logs", "--no-color", "nats").splitlines() if "Violation" in line]
        self.assertEqual([line for line in refused if "python" not in line], [], "a service lacks a permission")

    async def test_a_tenant_cannot_submit_to_the_queue_of_another(self):
        finance, complaints = await self.connect("finance")
        with self.assertRaises(UNAVAILABLE):
            await finance.submit("research", {"command": ["true"]})
        self.assertIn("allot.v1.submit.research", "".join(complaints))

    async def test_only_its_writer_writes_to_a_ledger_subject(self):
        for user, writer in [("research", "dispatcher"), ("operator", "registry"), ("agent", "dispatcher"), ("allocator", "offers")]:
            client, complaints = await self.connect(user)
            await client.client.publish(f"allot.v1.ledger.{writer}", b"")
            await client.client.flush()
            await until(self.answer(complaints), lambda said: "permissions violation" in "".join(said).lower())

    async def test_a_tenant_cannot_listen_to_the_answers_or_the_orders_of_others(self):
        research, complaints = await self.connect("research")
        for subject in ["_INBOX_finance.>", "allot.v1.agent.*.orders", "allot.v1.submit.>", "allot.v1.output.>"]:
            complaints.clear()
            await research.client.subscribe(subject)
            await until(self.answer(complaints), lambda said: "permissions violation" in "".join(said).lower())

    async def test_nobody_gets_in_without_a_password(self):
        with self.assertRaises(UNAVAILABLE):
            await nats.connect(f"nats://127.0.0.1:{CLUSTER.port}", allow_reconnect=False, error_cb=quietly)

    async def test_every_container_becomes_healthy(self):
        await until(CLUSTER.states, lambda states: states == ["healthy"] * 5)

    @staticmethod
    def answer(value):
        async def same():
            return value

        return same
