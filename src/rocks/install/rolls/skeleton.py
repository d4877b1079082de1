"""The sources of a new roll, with one of each: a command, a hook, a node, an edge, a test. They build as they are."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.core.files import PUBLIC, write_file
from rocks.install.rolls.templates import FILES

if TYPE_CHECKING:
    from rocks.install.rolls.description import RollId


def command_word(name: str) -> str:
    """The word of commands for a roll: its name, with an underscore for what no identifier has."""
    word = re.sub(r"[^a-z0-9_]", "_", name)
    return word if word[0].isalpha() else f"roll_{word}"


def write_skeleton(roll: RollId, parent: Path) -> Path:
    """Write the sources of a new roll to the folder NAME; returns it.

    UserError for a folder that exists, HostError for one that cannot be written. A killed writer leaves no folder NAME.
    """
    folder = parent.absolute() / roll.name
    values = {
        "@NAME@": roll.name,
        "@WORD@": command_word(roll.name),
        "@VERSION@": roll.version,
        "@ARCH@": roll.arch,
    }
    try:
        if folder.exists() or folder.is_symlink():
            raise UserError(f"{folder} is there already; give another name, or remove it")
        work = Path(tempfile.mkdtemp(prefix=f".{roll.name}.", dir=parent))
        try:
            for path, text in FILES.items():
                target = work / "roll" / _filled(path, values)
                target.parent.mkdir(parents=True, exist_ok=True)
                write_file(target, _filled(text, values), mode=PUBLIC)
            (work / "roll").rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise HostError(f"cannot write {folder}: {error.strerror}") from None
    return folder


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text
