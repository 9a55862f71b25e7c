"""Runs the tests in containers and ends with a line `N passed, N failed`."""

import signal
import sys
import unittest

import test_cluster


def main():
    # Being stopped still removes the containers: an interrupt unwinds, the default action would not.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tests = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:] or ["test_cluster"])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(tests)
    failed = len(result.failures) + len(result.errors)
    if failed:
        print(test_cluster.CLUSTER.compose("logs", "--no-color", "--tail", "100"))
    print(f"{max(result.testsRun - failed, 0)} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
