"""Parameters of the commands that generate documents of nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.commands._framework.base import Command
    from rocks.install.node_documents import DocumentOptions


def document_options(command: Command, is_strict: bool) -> DocumentOptions:
    """The options that the parameters roll, eval, gen, basedir, missing-check and entity-check give.

    `is_strict` is the default of entity-check.
    """
    from rocks.install.node_documents import GENERATOR, DocumentOptions

    base = command.fillText("basedir", "")
    rolls = [name.strip() for name in command.fillText("roll", "").split(",")]
    return DocumentOptions(
        Path(base) if base else None,
        tuple(name for name in rolls if name),
        command.fillText("gen", GENERATOR),
        command.fillFlag("missing-check", True),
        command.fillFlag("entity-check", is_strict),
        command.fillFlag("eval", True),
    )
