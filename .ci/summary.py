"""Add up what runs of `make test` have ended with: "N passed, N failed[, N skipped]", after the first causes of all failures.

usage: summary.py FILE STATUS [FILE STATUS ...], the output of a run and its exit status. Exits with 1 if a status is not 0, if
any test failed or was skipped, or if none ran. Tests that need a browser, Caddy, coturn, Firefox,
or a newer Node.js may be skipped.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path


def summary(runs: Sequence[tuple[str, int]]) -> tuple[list[str], bool]:
    """Return the lines, and whether all is well."""
    passed = failed = skipped = allowed = 0
    lines: list[str] = []
    for output, status in runs:
        lines += re.findall(r"^(?:FAILED|SKIPPED) .*: .*$", output, re.MULTILINE)
        found = re.findall(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", output, re.MULTILINE)
        counts = [int(count or 0) for count in found[-1]] if found else [0, 0, 0]
        if (status or not counts[0]) and not counts[1]:
            counts[1] = 1
            lines.append(f"FAILED run: it ended with {status}, and did not get to its end")
        passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
        reasons = r"^SKIPPED (\d+) of .*: no (?:browser|caddy|coturn|firefox|node): "
        allowed += sum(map(int, re.findall(reasons, output, re.MULTILINE)))
    lines.append(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return lines, bool(passed and not failed and skipped <= allowed)


if __name__ == "__main__":
    files, statuses = sys.argv[1::2], sys.argv[2::2]
    text, good = summary(
        [(Path(file).read_text(errors="replace"), int(status)) for file, status in zip(files, statuses, strict=True)]
    )
    print("\n".join(text))
    sys.exit(0 if good else 1)
