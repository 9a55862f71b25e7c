"""Runs the tests in containers and ends with a line `N passed, N failed`."""

import logging
import signal
import sys
import unittest

import test_cluster
import test_replicas
import test_tenants


def run(module):
    """Runs the tests of one cluster, shows its logs where they failed, and returns how many passed and failed."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    failed = len(result.failures) + len(result.errors)
    if failed:
        print(module.CLUSTER.compose("logs", "--no-color", "--tail", "100"))
    module.CLUSTER.down()
    return max(result.testsRun - failed, 0), failed


def main():
    # Being stopped still removes the containers: an interrupt unwinds, the default action would not.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Compose commands block the event loop, and nothing else waits for it.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    passed, failed = (sum(counts) for counts in zip(*map(run, [test_cluster, test_replicas, test_tenants])))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
