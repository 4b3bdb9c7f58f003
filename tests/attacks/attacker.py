"""One attack, in a process of its own and with a lower priority, so that it does not take the processor from its target.

usage: python -m tests.attacks.attacker NAME HOST PORT NUMBER SECONDS TIMEOUT PROXIED. Says "begun", then the outcome.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys

from .case import Field
from .suite import BY_NAME


def main() -> None:
    name, host, port, number, seconds, timeout, proxied = sys.argv[1:]
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("begun", flush=True)
    case = BY_NAME[name]()
    field = Field((host, int(port)), int(number), float(seconds), float(timeout), proxied == "1", case.addresses)
    print(json.dumps(dataclasses.asdict(case.attack(field))), flush=True)
    # Open connections are closed with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
