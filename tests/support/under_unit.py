"""Runs a program under the system call filter of a systemd unit: under_unit.py UNIT PROGRAM [ARGUMENT...].

Reads the unit's SystemCallFilter and SystemCallErrorNumber, asks `systemd-analyze` for the calls of the groups, and has
libseccomp make the filter, as systemd does.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator

SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO = 0x00050000
LIBRARY = "libseccomp.so.2"


def lacking() -> str:
    """Return the programs that a filter needs and this machine lacks, or an empty string."""
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze is not installed (apt-get install systemd)"
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return f"{LIBRARY} is not installed (apt-get install libseccomp2)"
    return ""


@functools.cache
def members(group: str) -> frozenset[str]:
    """Return the system calls of a group such as "@resources"."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout.split("\n")[1:]
    return frozenset(expand(word for line in told if (word := line.strip()) and not word.startswith("#")))


def expand(names: Iterable[str]) -> Iterator[str]:
    """Return system calls; groups are replaced by theirs."""
    for name in names:
        if name.startswith("@"):
            yield from members(name)
        else:
            yield name


def allowed(unit: str) -> frozenset[str]:
    """Return the system calls that a unit's text allows. Raises ValueError if its first filter is no allow-list."""
    calls: frozenset[str] | None = None
    for line in unit.splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        names = frozenset(expand(value.removeprefix("~").split()))
        if calls is None:
            if value.startswith("~"):
                raise ValueError("the first SystemCallFilter is a deny-list")
            calls = names | members("@default")
        else:
            calls = calls - names if value.startswith("~") else calls | names
    if calls is None:
        raise ValueError("the unit has no SystemCallFilter")
    return calls


def confine(calls: Iterable[str]) -> None:
    """Let this process make these system calls only; all others fail with EPERM."""
    library = ctypes.CDLL(LIBRARY, use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(SCMP_ACT_ERRNO | errno.EPERM)))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # else this architecture has none
            error = library.seccomp_rule_add(context, ctypes.c_uint32(SCMP_ACT_ALLOW), ctypes.c_int(number), 0)
            if error:
                raise OSError(-error, f"seccomp_rule_add {call}")
    error = library.seccomp_load(context)
    if error:
        raise OSError(-error, "seccomp_load")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        confine(sorted(allowed(file.read())))
    os.execvp(sys.argv[2], sys.argv[2:])
