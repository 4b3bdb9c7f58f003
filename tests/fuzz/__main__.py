"""Look for inputs that break something: `python -m tests.fuzz [--seconds N] [--seed S] [target ...]`.

Each target runs in a process of its own, one after another, guided by the coverage of our code. Faulty inputs
are printed, and kept in the directory of --found; inputs with new coverage are kept there too, and are where the next run
goes on. The corpus that is committed is only read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time; it is printed")
    parser.add_argument("--found", type=Path, default=ROOT / ".fuzz", help="what is found")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="frames, decoder, http, members; none: all")
    options = parser.parse_args()
    if options.one:
        return run(options.targets[0], options.seconds, options.seed, options.found)
    broken = []
    for name in options.targets or ["frames", "decoder", "http", "members"]:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--one", "--found", str(options.found.resolve())]
        command += ["--seconds", str(options.seconds), "--seed", str(options.seed), name]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            broken.append(name)
    print(f"found something: {', '.join(broken)}; see {options.found}" if broken else "found nothing")
    return 1 if broken else 0


def run(name: str, seconds: int, seed: int, found: Path) -> int:
    """Fuzz one target; ends the process."""
    import atheris  # noqa: PLC0415  # only needed here

    with atheris.instrument_imports(include=["tandemd", "autobahn.websocket", "twisted.web.http"]):
        from .targets import CORPUS, TARGETS  # noqa: PLC0415  # to be instrumented

    kept = found / name
    kept.mkdir(parents=True, exist_ok=True)
    arguments = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1", "-timeout=20"]
    arguments += [f"-artifact_prefix={found}/{name}-", str(kept), str(CORPUS / name)]
    if seed:
        arguments.insert(1, f"-seed={seed}")
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
