"""`rocks disable roll`"""

import rocks.commands
from rocks.commands._shared.rolls import rolls_of
from rocks.install.rolls.rolls import disable_rolls


class Command(rocks.commands.Command):
    """
    Disable rolls: their commands, nodes and edges are no longer in use. Their files stay. What they have configured
    on hosts stays as well. A roll that another enabled roll needs is rejected.

    <shared command='enable roll' names='roll,version,arch'/>

    <example cmd='disable roll hello'>
    One roll.
    </example>
    <example cmd='disable roll hello version=1.0'>
    One version of it.
    </example>

    <related>list roll</related>
    <related>enable roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Disable the rolls."""
        disable_rolls(self.db, *rolls_of(self, args))
