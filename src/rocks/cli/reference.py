"""The reference pages, made of what the programs themselves say: `python3 -m rocks.cli.reference docs/reference`."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.cluster.attributes import (
    FORCED_SOURCE,
    INTRINSIC,
    INTRINSIC_SOURCE,
    KNOWN,
    OLD_SUFFIX,
    SOURCE_LETTERS,
)
from rocks.commands.documentation import read_documentation
from rocks.commands.tree import OUR_TREE, all_commands, load_package
from rocks.version import rocks_version_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands.documentation import Word

_MADE = "<!-- Made by `make reference`; what to change is in the programs. -->\n"


def write_reference(folder: Path) -> None:
    """Write all pages into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name → text of each page."""
    return {"commands.md": commands_page(), "attributes.md": attributes_page()}


def commands_page() -> str:
    """Every command of our own tree: what it does, its words, examples, who may run it."""
    trees = [OUR_TREE]
    commands = [words for words in all_commands(trees) if hasattr(load_package(words, trees), "Command")]
    parts = [
        f"# Commands\n\n{_MADE}\n`rocks help WORDS` finds a command, `rocks COMMAND help` explains it.\n"
    ]
    verbs = [(verb, list(members)) for verb, members in groupby(commands, key=lambda words: words[0])]
    parts.append(" · ".join(f"[{verb}](#{verb})" for verb, _ in verbs) + "\n")
    for verb, members in verbs:
        parts.append(f"## {verb}\n")
        parts += [_command_section(words, trees) for words in members]
    return "\n".join(parts)


def attributes_page() -> str:
    """Every attribute that the system itself reads, and how scopes win over each other."""
    scopes = ", ".join(f"{scope} (`{letter}`)" for scope, letter in SOURCE_LETTERS.items())
    forced = ", ".join(f"`{name}`" for name in ("arch", *rocks_version_attributes()))
    lines = [
        "# Attributes\n",
        _MADE,
        "An attribute is a name with a text. `rocks list host attr` shows those of a host, and the letter of the scope",
        f"that each comes from. Scopes, each stronger than those before: {scopes}. Weaker than all are the intrinsic",
        f"ones (`{INTRINSIC_SOURCE}`): {', '.join(f'`{name}`' for name in INTRINSIC)}. Nothing overrides the forced",
        f"ones (`{FORCED_SOURCE}`): {forced}; `arch` is forced where the node's architecture is known.",
        "",
        f"`rocks set … attr` keeps the value before it as the attribute with `{OLD_SUFFIX}` at its end. Names that",
        "differ in case only are one attribute. Any other attribute is yours: the kickstart graph can use it.",
        "",
        "| attribute | usual scope | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, known in sorted(KNOWN.items(), key=lambda item: item[0].lower()):
        default = f"`{known.default}`" if known.default else ""
        lines.append(f"| `{name}` | {known.scope} | {default} | {_escaped(known.meaning)} |")
    return "\n".join(lines) + "\n"


def _command_section(words: tuple[str, ...], trees: Sequence[str]) -> str:
    command_class = load_package(words, trees).Command
    documentation = read_documentation(command_class)
    name = " ".join(words)
    lines = [f"### {name}\n", f"    rocks {name} {documentation.usage()}".rstrip() + "\n"]
    lines.append(
        _escaped(documentation.description) + (" For root." if command_class.MustBeRoot else "") + "\n"
    )
    if documentation.arguments or documentation.parameters:
        lines += [_item(word, word.name) for word in documentation.arguments]
        lines += [_item(word, f"{word.name}=") for word in documentation.parameters]
        lines.append("")
    for command_line, text in documentation.examples:
        lines.append(
            f"{_escaped(text)}\n\n    {'#' if command_class.MustBeRoot else '$'} rocks {command_line}\n"
        )
    if documentation.related:
        lines.append(
            "See also "
            + ", ".join(f"[{it}](#{it.replace(' ', '-')})" for it in documentation.related)
            + ".\n"
        )
    return "\n".join(lines)


def _item(word: Word, shown: str) -> str:
    kind = ("optional " if word.optional else "") + word.type + (", repeated" if word.repeat else "")
    return f"* `{shown}` ({kind}): {_escaped(word.text)}"


def _escaped(text: str) -> str:
    """Text without what Markdown would take for more than text."""
    return "".join(f"\\{character}" if character in "\\`*_<>[]|#" else character for character in text)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
