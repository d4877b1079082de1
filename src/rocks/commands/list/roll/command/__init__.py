"""`rocks list roll command`"""

import rocks.commands
from rocks.commands._framework.tree import all_commands, is_command, load_package, roll_of, tree_folders
from rocks.install.rolls.folders import load_rolls


class Command(rocks.commands.Command):
    """
    List the commands that each roll brings. A command states its roll in the variable RollName of its file; those
    without one are of the roll base.

    <arg optional='1' type='string' name='roll' repeat='1' default='all that were added'>
    Rolls; base and others that were not added may be named, too.
    </arg>

    <example cmd='list roll command'>
    The commands of all rolls.
    </example>
    <example cmd='list roll command base'>
    The commands of these programs.
    </example>

    <related>list roll</related>
    <related>list help</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per command."""
        rolls = args or list(dict.fromkeys(row.name for row in load_rolls(self.db)))
        trees = tree_folders()
        commands: dict[str, list[str]] = {roll: [] for roll in rolls}
        for command_path in all_commands(trees):
            if (
                is_command(command_path, trees)
                and (roll := roll_of(load_package(command_path, trees))) in commands
            ):
                commands[roll].append(" ".join(command_path))
        rows = ((roll, command) for roll, names in commands.items() for command in names)
        self.addTable(("roll", "command"), rows, trimOwner=False)
