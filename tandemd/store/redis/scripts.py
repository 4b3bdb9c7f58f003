"""The Lua scripts in `lua/`. Scripts compare, write and publish in one step; they know no rules.

The first lines of a file declare its parameters, which the loader makes local variables:

    --@keys NAME... [...]       KEYS by name; after `...`, `rest_keys` is the index of the first further key
    --@arguments NAME... [...]  ARGV by name; after `...`, `rest` is the index of the first further argument
    --@include NAME             the text of lua/shared/NAME.lua

Several lines of a kind continue one another.

`RedisConnection.run` takes the arguments by the same names, so that a new argument is a word in the Lua file and a key in the
call.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from operator import itemgetter

_DIRECTIVE = re.compile(r"^--@(\w+) ?(.*)$", re.MULTILINE)
NO_ARGUMENTS: Mapping[str, bytes] = {}
_LUA = files(__package__) / "lua"


class Script:
    """A script of `lua/`, called by its hash.

    keys, arguments: the names that the file declares.
    """

    def __init__(self, name: str):
        self.name = name
        self.keys: tuple[str, ...] = ()
        self.arguments: tuple[str, ...] = ()
        source = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
        self.text = _DIRECTIVE.sub(self._expand, source).encode()
        self.sha = hashlib.sha1(self.text).hexdigest().encode()
        self._select: Callable[[Mapping[str, bytes]], Sequence[bytes]]
        if len(self.arguments) > 1:
            self._select = itemgetter(*self.arguments)  # for each commit: a loop in Python takes 2.5 µs longer
        else:
            self._select = lambda named: [named[name] for name in self.arguments]

    def _expand(self, directive: re.Match[str]) -> str:
        kind, words = directive[1], directive[2].split()
        if kind == "include":
            return (_LUA / "shared" / f"{words[0]}.lua").read_text(encoding="utf-8").rstrip()
        names = tuple(word for word in words if word != "...")
        if kind == "keys":
            known, self.keys = len(self.keys), self.keys + names
            return _locals("KEYS", known, names, "rest_keys" if "..." in words else "")
        if kind == "arguments":
            known, self.arguments = len(self.arguments), self.arguments + names
            return _locals("ARGV", known, names, "rest" if "..." in words else "")
        raise ValueError(f"{self.name}.lua: unknown directive --@{kind}")

    def ordered(self, named: Mapping[str, bytes]) -> Sequence[bytes]:
        """Return the named arguments in the order of the file. Raises TypeError unless the names are the declared ones."""
        try:
            if len(named) == len(self.arguments):
                return self._select(named)
        except KeyError:
            pass
        raise TypeError(f"{self.name}.lua takes {', '.join(self.arguments) or 'no arguments'}, not {', '.join(named)}")


def _locals(table: str, known: int, names: tuple[str, ...], rest: str) -> str:
    """Return the declaration of local variables for the parameters after the first `known` ones.

    It is one line, so that Redis' line numbers stay close to those of the file.
    """
    last = known + len(names)
    text = f"local {', '.join(names)} = unpack({table}, {known + 1}, {last})" if names else ""
    return f"{text} local {rest} = {last + 1}".strip() if rest else text


PROBE = Script("probe")
COMMIT = Script("commit")
TURN = Script("turn")
SHORTEN = Script("shorten")
OPEN_INCARNATION = Script("open_incarnation")
RESEED = Script("reseed")
LOAD_ROOM = Script("load_room")
RESHAPE = Script("reshape")
COMPLETE = Script("complete")
RELAY = Script("relay")
READ_MAILBOX = Script("read_mailbox")
HEADS = Script("heads")
NODE_HEARTBEAT = Script("node_heartbeat")
TAKE = Script("take")
REFUND = Script("refund")
JOURNAL_ADD = Script("journal_add")
JOURNAL_REMOVE = Script("journal_remove")
FORGET_PLACE = Script("forget_place")

SCRIPTS = (
    PROBE, COMMIT, TURN, SHORTEN, OPEN_INCARNATION, RESEED, LOAD_ROOM, RESHAPE, COMPLETE, RELAY, READ_MAILBOX, HEADS,
    NODE_HEARTBEAT, TAKE, REFUND, JOURNAL_ADD, JOURNAL_REMOVE, FORGET_PLACE,
)  # fmt: skip
"""All scripts; each connection for commands loads them."""
