"""`rocks enable roll`"""

import rocks.commands
from rocks.commands._shared.rolls import rolls_of
from rocks.install.rolls.rolls import enable_rolls


class Command(rocks.commands.Command):
    """
    Enable rolls: their commands, their nodes and their edges of the graph are in use from the next command on.
    At most one version of a roll is enabled; another one that was is disabled. A roll that needs another roll, and one
    with a command or node that is there already, is rejected. Where the folder /etc/rocks/keys has public keys, only
    rolls that one of them signed are enabled, whenever they were added.

    <arg type='string' name='roll' repeat='1'>
    Rolls; % is a wildcard.
    </arg>
    <param type='string' name='version' default='every version' of='rollversion'>
    Version; % is a wildcard.
    </param>
    <param type='string' name='arch' default='every architecture' of='rollarch'>
    Architecture; % is a wildcard.
    </param>
    <param type='bool' name='unsigned' default='no'>
    Whether a roll without a signature is enabled although /etc/rocks/keys has keys.
    </param>

    <example cmd='enable roll hello'>
    One roll.
    </example>
    <example cmd='enable roll hello version=1.0'>
    One version of it.
    </example>

    <related>list roll</related>
    <related>disable roll</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Enable the rolls."""
        enable_rolls(self.db, *rolls_of(self, args), self.fillFlag("unsigned"), self.notify)
