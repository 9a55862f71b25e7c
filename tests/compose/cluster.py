"""The cluster of `docker-compose.yml` under a project name and a port of its own, and plain NATS questions to it."""

import asyncio
import atexit
import json
import os
import pathlib
import shutil
import socket
import subprocess

import nats

SERVICES = ["registry", "offers", "dispatcher", "allocator", "agent"]
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class Refused(Exception):
    """A service answered, and said no."""


# What a question ends with before there is an answer to it: nobody is there, or the job is not known yet.
UNAVAILABLE = (nats.errors.Error, asyncio.TimeoutError, OSError, Refused)


def compose_command():
    """`docker compose` where the plugin is there, else the older `docker-compose`."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """One compose project. `down` removes everything that it made."""

    def __init__(self, name, *files, **environment):
        self.project = f"allot-test-{name}-{os.getpid()}"
        self.port = free_port()
        self.shared = REPOSITORY / "target" / "compose-test" / self.project
        self.command = compose_command()
        self.environment = {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": ":".join(["docker-compose.yml", "tests/compose/override.yml", *files]),
            "ALLOT_NATS_PORT": str(self.port),
            "ALLOT_AGENT_CPUS": "10",
            "ALLOT_TEST_SHARED": str(self.shared),
            **environment,
        }

    def compose(self, *arguments, **environment):
        """Runs a compose command and returns what it printed."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(self.command + list(arguments))} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def up(self, agents, **replicas):
        """Starts it, with so many agents, and so many of other services as are named. It goes down when this process ends and not sooner, for the logs of a failure."""
        atexit.register(self.down)
        self.shared.mkdir(parents=True)
        # Tasks run as the image's user, who is nobody on this machine.
        self.shared.chmod(0o777)
        scales = {"agent": agents, **replicas}.items()
        self.compose("up", "--detach", *(word for name, count in scales for word in ("--scale", f"{name}={count}")))

    def down(self):
        atexit.unregister(self.down)
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        shutil.rmtree(self.shared, ignore_errors=True)

    async def states(self):
        """How the containers of all services are: `healthy`, `unhealthy` or `starting`."""
        containers = self.compose("ps", "--quiet", *SERVICES).split()
        template = "{{.State.Health.Status}}"
        told = subprocess.run(
            ["docker", "inspect", "--format", template, *containers], capture_output=True, text=True, check=True
        )
        return told.stdout.split()

    async def services(self):
        """What `allot services` tells."""
        return json.loads(self.compose("run", "--rm", "-T", "cli", "services", "-o", "json"))

    async def connect(self, **options):
        """A connection as any user has it, once the server accepts one."""
        # Nobody is told that the server is away for a while: the client finds it again by itself.
        options = {"error_cb": quietly, **options}
        return Bus(await until(lambda: nats.connect(f"nats://127.0.0.1:{self.port}", **options)))


async def quietly(_error):
    pass


class Bus:
    """Questions to the cluster in plain NATS, as a program in any language would ask them."""

    def __init__(self, client):
        self.client = client

    async def submit(self, queue, job):
        """Publishes a job and returns its id: its place in the inbox, which the acknowledgement carries."""
        stored = await self.client.jetstream().publish(f"allot.v1.submit.{queue}", json.dumps(job).encode())
        return stored.seq

    async def ask(self, subject, question=None):
        answer = await self.client.request(subject, json.dumps(question or {}).encode(), timeout=5)
        answer = json.loads(answer.data)
        if "error" in answer:
            raise Refused(f"{subject}: {answer['error']['message']}")
        return answer["ok"]

    async def ready_agents(self, count):
        """Waits until that many agents take tasks, and returns them."""
        ready = lambda agents: [agent for agent in agents if agent["state"] == "ready"]
        return await until(lambda: self.ask("allot.v1.agents.list"), lambda agents: len(ready(agents)) == count)

    async def active_policy(self):
        """The policy of the allocator that decides, or nothing while none does."""
        view = await self.ask("allot.v1.pool.default.policy")
        return next((allocator["policy"] for allocator in view["allocators"] if allocator["active"]), None)

    async def job(self, job):
        return await self.ask(f"allot.v1.job.{job}.show")

    async def ended(self, job, within=60):
        """The job, once it has ended."""
        return await until(lambda: self.job(job), lambda view: view["ended_at"] is not None, within)

    async def output(self, job, task, attempt=1, stream="stdout"):
        """What an ended attempt printed, from the output stream, where it outlives its agent."""
        subject = f"allot.v1.output.{job}.{task}.{attempt}.{stream}"
        stored = await until(lambda: self.client.jetstream().get_last_msg("ALLOT_OUTPUT", subject))
        return stored.data.decode()


async def until(question, holds=lambda answer: True, within=60):
    """Asks again until the answer is as wanted, and returns it. Nobody answering is asked again, too."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        try:
            answer = await question()
            if holds(answer):
                return answer
        except UNAVAILABLE as error:
            answer = repr(error)
        if loop.time() > deadline:
            raise AssertionError(f"not within {within} s; the last answer was {answer}")
        await asyncio.sleep(0.1)
