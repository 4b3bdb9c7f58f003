"""Turn trial's summary, on standard input, into "N passed, N failed[, N skipped]".

usage: summary.py STATUS, the exit status of trial. Exits with 1 if that is not 0, if any test failed or was skipped,
or if none ran.
"""

import re
import sys

PASSED = ("successes", "expectedFailures")
FAILED = ("failures", "errors", "unexpectedSuccesses")


def summary(output: str, status: int) -> tuple[str, bool]:
    """Return the line, and whether all is well."""
    found = re.findall(r"^(?:PASSED|FAILED)(?: \((.*)\))?$", output, re.MULTILINE)
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", found[-1] if found else "")}
    passed = sum(counts.get(name, 0) for name in PASSED)
    failed = sum(counts.get(name, 0) for name in FAILED)
    skipped = counts.get("skips", 0)
    if status and not failed:
        failed = 1  # trial itself did not get to its end
    line = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    return line, bool(passed and not failed and not skipped)


if __name__ == "__main__":
    text, good = summary(sys.stdin.read(), int(sys.argv[1]))
    print(text)
    sys.exit(0 if good else 1)
