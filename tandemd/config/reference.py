"""The configuration file with every key, its default and its meaning, and a page about them, made from the declaration.

`python -m tandemd.config.reference > etc/tandemd.yaml` and `... --markdown > docs/configuration.md` write them.
"""

from __future__ import annotations

import inspect
import sys
import textwrap

import yaml

from .schema import ConfigKey, keys, sections

_VALUES = """\
Durations are seconds or have a unit (250ms, 45s, 2m, 4h), sizes are bytes or have one (64K, 1M).
A secret may be in a file: password_file: PATH instead of password, or NAME_FILE in the environment.
"""
_HEAD = f"""\
The configuration of tandemd. It lists each key with its default; remove the # before a key to change it.
The environment overrides this file, and the command line overrides both. The name in brackets is the environment's
name of the key. {_VALUES}"""
_PAGE = f"""\
All keys are optional. A key may be set in a YAML file (`--config`), where `web.invite_base_url` is the key
`invite_base_url` of the section `web`, or in the environment, which overrides the file. A few are also options of the command line,
which override both. {_VALUES}"""


def yaml_file() -> str:
    """Return the text of etc/tandemd.yaml."""
    lines = _comment(" ".join(_HEAD.split()), "")
    by_section: dict[str, list[ConfigKey]] = {name: [] for name in sections()}
    for key in keys():
        by_section[key.path.rpartition(".")[0]].append(key)
    for name, kind in sections().items():
        indent = "  " if name else ""
        if name:
            lines += ["", *_comment(" ".join((inspect.getdoc(kind) or "").split()), ""), f"{name}:"]
        for key in by_section[name]:
            lines += ["", *_comment(f"{key.doc} [{key.env[0]}]", indent)]
            lines += [f"{indent}#{line}" for line in _entry(key)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the text of docs/configuration.md."""
    blocks = [
        "# Configuration",
        "<!-- made by python -m tandemd.config.reference --markdown -->",
        " ".join(_PAGE.split()),
    ]
    for name, kind in sections().items():
        declared = [key for key in keys() if key.path.rpartition(".")[0] == name]
        blocks += [f"## {name}", inspect.getdoc(kind) or ""] if name else []
        blocks.append(
            "\n".join(["| key | default | environment | meaning |", "|---|---|---|---|", *map(_row, declared)])
        )
    return "\n\n".join(blocks) + "\n"


def _row(key: ConfigKey) -> str:
    default = yaml.safe_dump(key.default, default_flow_style=True, allow_unicode=True, width=1000)
    default = default.removesuffix("...\n").strip()
    cells = (f"`{key.path}`", f"`{default}`", " ".join(f"`{name}`" for name in key.env), key.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False
    )


def _entry(key: ConfigKey) -> list[str]:
    name = key.path.rpartition(".")[2]
    text = yaml.safe_dump({name: key.default}, default_flow_style=False, allow_unicode=True, indent=2, width=200)
    return text.splitlines()


if __name__ == "__main__":
    sys.stdout.write(page() if "--markdown" in sys.argv else yaml_file())
