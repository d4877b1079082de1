"""Writes the reference pages, and the index of our commands: `python3 -m lab.pages.reference docs/reference`."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.commands._framework.command_index import FILE, index_text
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.core.version import rocks_version_attributes
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.rules import (
    FORCED_SOURCE,
    INTRINSIC,
    INTRINSIC_SOURCE,
    OLD_SUFFIX,
    SOURCE_LETTERS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._framework.documentation import Declared

_MADE = "<!-- Written by `make reference` from the commands' docstrings; change those. -->\n"


def write_reference(folder: Path) -> None:
    """Write all pages into `folder`, which is created when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name → text of each page."""
    return {"commands.md": commands_page(), "attributes.md": attributes_page()}


def commands_page() -> str:
    """Every command of our own tree: description, arguments, parameters, examples and permitted users."""
    trees = [OUR_TREE]
    commands = [
        command_path
        for command_path in all_commands(trees)
        if hasattr(load_package(command_path, trees), "Command")
    ]
    parts = [
        f"# Commands\n\n{_MADE}\n`rocks help TEXT` lists the commands about a topic, or whose usage contains the text; "
        "`rocks COMMAND help` explains a command.\n"
    ]
    verbs = [
        (verb, list(members)) for verb, members in groupby(commands, key=lambda command_path: command_path[0])
    ]
    parts.append(" · ".join(f"[{verb}](#{verb})" for verb, _ in verbs) + "\n")
    for verb, members in verbs:
        parts.append(f"## {verb}\n")
        parts += [_command_section(command_path, trees) for command_path in members]
    return "\n".join(parts)


def attributes_page() -> str:
    """Every attribute that the system reads, and the precedence of scopes."""
    scopes = ", ".join(f"{scope} (`{source}`)" for scope, source in SOURCE_LETTERS.items())
    forced = ", ".join(f"`{name}`" for name in ("arch", *rocks_version_attributes()))
    lines = [
        "# Attributes\n",
        "<!-- Written by `make reference` from src/rocks/inventory/attributes/known; change that. -->\n",
        "An attribute is a name with a text value. `rocks list host attr` lists the attributes of a host, each with",
        f"the letter of its scope. Scopes, from low to high precedence: {scopes}. Intrinsic attributes",
        f"(`{INTRINSIC_SOURCE}`) have the lowest precedence: {', '.join(f'`{name}`' for name in INTRINSIC)}. Forced",
        f"attributes (`{FORCED_SOURCE}`) have the highest: {forced}. `arch` is forced where the architecture of the",
        "node is known. `rocks set … attr` refuses these names, except `arch`.",
        "",
        f"`rocks set … attr` stores the previous value as the attribute with the suffix `{OLD_SUFFIX}`. Attribute",
        "names are case-insensitive. You may define any other attribute; the kickstart graph can use it. A name that",
        "is nearly one of these is refused unless `force=yes` is given.",
        "",
        "| attribute | usual scope | value | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for name, known in sorted(KNOWN.items(), key=lambda item: item[0].lower()):
        default = f"`{known.default}`" if known.default else ""
        lines.append(
            f"| `{name}` | {known.scope} | {_escaped(known.form_text)} | {default} | {_escaped(known.meaning)} |"
        )
    return "\n".join(lines) + "\n"


def _command_section(command_path: tuple[str, ...], trees: Sequence[str]) -> str:
    command_class = load_package(command_path, trees).Command
    documentation = read_documentation(command_class)
    name = " ".join(command_path)
    lines = [f"### {name}\n", f"    rocks {name} {documentation.usage()}".rstrip() + "\n"]
    lines.append(
        _escaped(documentation.description) + (" Requires root." if command_class.MustBeRoot else "") + "\n"
    )
    if documentation.arguments or documentation.parameters:
        lines += [_item(it, it.name) for it in documentation.arguments]
        lines += [_item(it, f"{it.name}=") for it in documentation.parameters]
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


def _item(declared: Declared, label: str) -> str:
    kind = (
        ("optional " if declared.optional else "") + declared.type + (", repeated" if declared.repeat else "")
    )
    facts = declared.facts.removeprefix(f"Type: {declared.type}.")  # the type stands in front
    return f"* `{label}` ({kind}): {_escaped(declared.text + facts)}"


def _escaped(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return "".join(f"\\{character}" if character in "\\`*_<>[]|#" else character for character in text)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
    Path(FILE).write_text(index_text(), encoding="utf-8")
