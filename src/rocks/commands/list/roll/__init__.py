"""`rocks list roll`"""

import rocks.commands
from rocks.install.rolls.folders import load_rolls
from rocks.install.rolls.rolls import select_rolls


class Command(rocks.commands.Command):
    """
    List the rolls that were added, and whether they are enabled.

    <arg optional='1' type='string' name='roll' repeat='1' default='all'>
    Rolls; % is a wildcard.
    </arg>
    <param type='string' name='version' default='%' of='rollversion'>
    Version; % is a wildcard.
    </param>

    <example cmd='list roll'>
    All rolls.
    </example>
    <example cmd='list roll hello version=1.0'>
    One version of a roll.
    </example>

    <related>add roll</related>
    <related>enable roll</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one row per roll."""
        rolls = {row.roll: row for row in load_rolls(self.db)}
        chosen = select_rolls(list(rolls), args, self.fillText("version", "%"), "%") if args else list(rolls)
        if not args and "version" in params:
            chosen = select_rolls(list(rolls), ["%"], self.fillText("version", "%"), "%") if rolls else []
        rows = ((*roll, "yes" if rolls[roll].is_enabled else "no") for roll in chosen)
        self.addTable(("name", "version", "arch", "enabled"), rows, trimOwner=False)
