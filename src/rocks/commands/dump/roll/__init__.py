"""`rocks dump roll`"""

import rocks.commands.dump
from rocks.actions.roll_folders import roll_path, rolls_folder
from rocks.database.rolls import load_rolls


class Command(rocks.commands.dump.command):
    """
    Print the commands that add the rolls again, from their folders in the distribution, and enable those that are
    enabled.

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
        self.dump("add", "roll", *(str(roll_path(root, roll.roll)) for roll in rolls))
        enabled = [roll for roll in rolls if roll.is_enabled]
        for version, arch in dict.fromkeys(roll.roll[1:] for roll in enabled):
            names = [roll.name for roll in enabled if roll.roll[1:] == (version, arch)]
            self.dump("enable", "roll", *names, f"version={version}", f"arch={arch}")
