"""`rocks dump roll`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands.dump
from rocks.install.rolls.folders import load_rolls, roll_path, rolls_folder
from rocks.install.rolls.signatures import lacks_signature

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the rolls again, from their folders in the distribution, and enable those that are
    enabled. Where the site has keys, and a roll is used without a signature, they have unsigned=yes.

    <example cmd='dump roll'>
    Print one shell command per line.
    </example>

    <related>add roll</related>
    <related>enable roll</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command for each roll, and one for those that are enabled."""
        rolls = load_rolls(self.db)
        if not rolls:
            return
        root = rolls_folder(self.db)
        folders = {roll: roll_path(root, roll.roll) for roll in rolls}
        self.dump("add", "roll", *(str(folder) for folder in folders.values()), *_unsigned(folders.values()))
        enabled = [roll for roll in rolls if roll.is_enabled]
        for version, arch in dict.fromkeys(roll.roll[1:] for roll in enabled):
            of_version = [roll for roll in enabled if roll.roll[1:] == (version, arch)]
            names = [roll.name for roll in of_version]
            unsigned = _unsigned(folders[roll] for roll in of_version)
            self.dump("enable", "roll", *names, f"version={version}", f"arch={arch}", *unsigned)


def _unsigned(folders: Iterable[Path]) -> list[str]:
    """The parameter without which the site's keys would reject one of the rolls."""
    return ["unsigned=yes"] if any(lacks_signature(folder) for folder in folders) else []
