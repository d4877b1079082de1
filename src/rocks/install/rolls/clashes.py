"""Names that two rolls cannot both have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.version import ROLL_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.install.rolls.content import RollContent


def check_clashes(
    contents: Sequence[RollContent],
    our_nodes: Mapping[str, Path],
    our_commands: frozenset[tuple[str, ...]],
) -> None:
    """UserError for a node or command that ours or two of these rolls have; StateError for an edge to no node.

    `our_nodes` are those in use without these rolls. The roll of these programs is compared with none: its nodes and
    commands are ours.
    """
    others = [one for one in contents if one.description.roll.name != ROLL_NAME]
    owners: dict[tuple[str, ...], str] = {("node", name): f"{path}" for name, path in our_nodes.items()}
    owners |= {("command", *path): "these programs" for path in our_commands}
    for content in others:
        roll = content.description.roll
        for kind, *path in (
            *(("node", name) for name in sorted(content.nodes)),
            *(("command", *command) for command in sorted(content.commands)),
        ):
            owner = owners.setdefault((kind, *path), f"the roll {roll.name}")
            if owner != f"the roll {roll.name}":
                raise UserError(
                    f'the roll {roll.name} has the {kind} "{" ".join(path)}", and so has {owner}: '
                    "its author must give it another name"
                )
    nodes = {name[1] for name in owners if name[0] == "node"}
    for content in others:
        for edge in content.graph.edges:
            if edge.child not in nodes:
                raise StateError(
                    f'{edge.place} leads from {edge.parent} to the node "{edge.child}", which no enabled roll has: '
                    "enable its roll first, or its author must add the node"
                )
