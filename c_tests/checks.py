"""Checks that are counted, for the test scripts in Python. A script ends with `finish()`, whose line
is "N passed, N failed"."""

import sys
from pathlib import Path

PASSED = FAILED = 0


def check(name, good, shown=""):
    """One check; what is shown if it fails."""
    global PASSED, FAILED
    if good:
        PASSED += 1
        return
    FAILED += 1
    print(f"{Path(sys.argv[0]).stem}: {name}: failed: {str(shown)[-800:]}", file=sys.stderr)


def finish():
    """Prints the counts; the exit status of the script."""
    print(f"{PASSED} passed, {FAILED} failed")
    return FAILED != 0
