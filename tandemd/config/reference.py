"""The configuration file with every key, its default and its meaning, made from the declaration.

`python -m tandemd.config.reference > etc/tandemd.yaml` writes it anew.
"""

from __future__ import annotations

import inspect
import sys
import textwrap

import yaml

from .declaration import Key, keys, sections

_HEAD = """\
The configuration of tandemd. Every key is here, with its default; take the # away before a key to change it.
The environment overrides this file, and the command line overrides both. The name in brackets is the key's in the
environment. Durations are seconds or have a unit (250ms, 45s, 2m, 4h), sizes are bytes or have one (64K, 1M).
A password may be in a file of its own: password_file: PATH instead of password, or NAME_FILE in the environment.
"""


def yaml_file() -> str:
    """Return the text of etc/tandemd.yaml."""
    lines = _comment(" ".join(_HEAD.split()), "")
    by_section: dict[str, list[Key]] = {name: [] for name in sections()}
    for key in keys():
        by_section[key.path.rpartition(".")[0]].append(key)
    for name, kind in sections().items():
        indent = "  " if name else ""
        if name:
            lines += ["", *_comment(inspect.getdoc(kind) or "", ""), f"{name}:"]
        for key in by_section[name]:
            lines += ["", *_comment(f"{key.doc} [{key.env[0]}]", indent)]
            lines += [f"{indent}#{line}" for line in _entry(key)]
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False
    )


def _entry(key: Key) -> list[str]:
    name = key.path.rpartition(".")[2]
    text = yaml.safe_dump({name: key.default}, default_flow_style=False, allow_unicode=True, indent=2, width=200)
    return text.splitlines()


if __name__ == "__main__":
    sys.stdout.write(yaml_file())
