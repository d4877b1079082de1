"""`rocks start service ha`"""

import signal
import sys

import rocks.commands
from rocks.commands._framework.shell_quoting import launcher

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Start the service of high availability: it starts virtual machines elsewhere when their host has failed. It runs
    until it is interrupted. It watches the hosts on which machines with the attribute ha run. When one has not answered
    for some time, its fence command (attribute vm_fence_command) switches it off, and rocks evacuate host starts these
    machines on the hosts that have the most memory left. Only machines whose disks are all on a NAS can start
    elsewhere. A host without a fence command, and one whose own attribute ha is no, keeps its machines. A machine that
    a host has lost with its power, and that has not ended by itself, is started there again when the host answers. So
    is one whose live migration was interrupted and that is off on both hosts, when both answer. Nothing is done while
    fewer of the other hosts answer than are silent: then this machine may be cut off.

    <param type='string' name='silence' default='60'>
    Seconds without an answer after which a host has failed, from 10 to 86400.
    </param>

    <example cmd='start service ha'>
    Watch; systemctl enable --now rocks-ha does so at each boot.
    </example>
    <example cmd='start service ha silence=300'>
    Give a host the time to restart by itself.
    </example>

    <related>evacuate host</related>
    <related>set host attr</related>
    <related>list host vm lease</related>
    """

    NoDryRun = "it is a service that runs until it is ended"
    MustBeRoot = 1
    NeedsOwnProcess = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Watch; a line on standard error for what happens."""
        from rocks.machine.moves.high_availability import SILENCE_SECONDS, Supervisor

        text = self.fillText("silence", f"{SILENCE_SECONDS:.0f}")
        if not text.isascii() or not text.isdecimal() or not 10 <= int(text) <= 86400:
            self.abort(f'silence must be from 10 to 86400 seconds, not "{text}"')
        supervisor = Supervisor(self.db, launcher(), self.notify, float(text))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self.notify(f"watching the hosts of machines with the attribute ha; silence means {text} seconds")
        supervisor.run()
