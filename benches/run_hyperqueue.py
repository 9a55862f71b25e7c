#!/usr/bin/env python3
"""Run tasks with HyperQueue as `cargo xtask bench` runs them with allot: a server, one worker, one job, output in files.

Uses `hq` where it is on the PATH, otherwise the Python package `hyperqueue`, which carries server and worker itself. Prints
one line of JSON: {"how": "hq" | "python", "version": …, "tasks": N, "seconds": …}, the time from submission until
the last task wrote its output file: clients of HyperQueue look for the end once a second, which is left out. Exits with 3 where there is neither.

    benches/run_hyperqueue.py [--tasks N] [--cores N] [COMMAND…]
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

NOT_THERE = 3


def with_hq(hq: str, command: list[str], tasks: int, cores: int, directory: str) -> dict:
    """Measure the binary."""

    def call(*words: str) -> str:
        whole = [hq, "--server-dir", os.path.join(directory, "server"), *words]
        return subprocess.run(whole, check=True, cwd=directory, stdout=subprocess.PIPE, text=True).stdout

    def keep(*words: str) -> subprocess.Popen:
        whole = [hq, "--server-dir", os.path.join(directory, "server"), *words]
        return subprocess.Popen(whole, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with contextlib.ExitStack() as running:
        server = keep("server", "start")
        running.callback(server.wait)
        running.callback(server.terminate)
        until(lambda: succeeds(call, "server", "info"), "the server of HyperQueue answers")
        worker = keep("worker", "start", "--cpus", str(cores))
        running.callback(worker.wait)
        running.callback(worker.terminate)
        until(lambda: "RUNNING" in call("worker", "list"), "the worker of HyperQueue is there")
        begun = time.time()
        call("submit", "--array", f"1-{tasks}", "--wait", "--", *command)
        seconds = newest(directory) - begun
    return {"how": "hq", "version": call_version(hq), "seconds": seconds}


def newest(directory: str) -> float:
    """When the newest output file was made."""
    return max(
        os.stat(os.path.join(place, name)).st_mtime
        for place, _, names in os.walk(directory)
        for name in names
        if name.endswith(".stdout")
    )


def call_version(hq: str) -> str:
    return subprocess.run([hq, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]


def succeeds(call, *words: str) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):
        call(*words)
        return True
    return False


def until(holds, what: str) -> None:
    """Look again and again until it holds."""
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    sys.exit(f"never came true: {what}")


def with_python(command: list[str], tasks: int, cores: int, directory: str) -> dict:
    """Measure the package: server and worker are threads of this process."""
    # Its progress bar would be part of what is measured.
    os.environ["TQDM_DISABLE"] = "1"
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig
    from hyperqueue.ffi import get_version

    os.chdir(directory)
    with LocalCluster(worker_config=WorkerConfig(cores=cores)) as cluster:
        client = cluster.client()
        # The first job waits for the worker to come up.
        run(client, Job, command, 10, os.path.join(directory, "first"))
        job = built(Job, command, tasks, os.path.join(directory, "all"))
        begun = time.time()
        client.wait_for_jobs([client.submit(job)])
        seconds = newest(os.path.join(directory, "all")) - begun
    return {"how": "python", "version": get_version(), "seconds": seconds}


def run(client, job_type, command: list[str], tasks: int, directory: str) -> None:
    client.wait_for_jobs([client.submit(built(job_type, command, tasks, directory))])


def built(job_type, command: list[str], tasks: int, directory: str):
    os.makedirs(directory)
    job = job_type(default_workdir=directory)
    for _ in range(tasks):
        job.program(command)
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("command", nargs="*", default=["/bin/true"])
    words = parser.parse_args()
    command = words.command or ["/bin/true"]
    hq = shutil.which("hq")
    with tempfile.TemporaryDirectory(prefix="allot-bench-hq-") as directory:
        if hq:
            measured = with_hq(hq, command, words.tasks, words.cores, directory)
        else:
            try:
                measured = with_python(command, words.tasks, words.cores, directory)
            except ImportError:
                print("HyperQueue is not here: put `hq` on the PATH, or `pip install hyperqueue`", file=sys.stderr)
                sys.exit(NOT_THERE)
    print(json.dumps({**measured, "tasks": words.tasks}))


if __name__ == "__main__":
    main()
