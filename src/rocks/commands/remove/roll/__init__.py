"""`rocks remove roll`"""

import rocks.commands
from rocks.commands._shared.rolls import rolls_of
from rocks.install.rolls.rolls import remove_rolls


class Command(rocks.commands.Command):
    """
    Remove rolls and their files from the distribution. What they have configured on hosts stays. An enabled roll
    is rejected: disable roll takes it out of use first.

    <shared command='enable roll' names='roll,version,arch'/>

    <example cmd='remove roll hello'>
    One roll.
    </example>
    <example cmd='remove roll hello version=1.0'>
    One version of it.
    </example>

    <related>list roll</related>
    <related>disable roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the rolls."""
        remove_rolls(self.db, *rolls_of(self, args))
