"""`rocks create distro`"""

import platform
from pathlib import Path

import rocks.commands
from rocks.core.names import counted
from rocks.install.profile_values import DEFAULT_DISTRIBUTION
from rocks.install.rolls.builds import build_distribution, rolls_by_text
from rocks.install.rolls.folders import ROLLS, distribution_folder
from rocks.install.rolls.rolls import enabled_rolls


class Command(rocks.commands.Command):
    """
    Build a distribution from the enabled rolls, in the current folder: the folder dist/arch, with a repository for
    apt in Debian and one for dnf, of the newest package of each name, with the nodes and graphs in build, and with the
    installer of hosts in installer, if a roll has one. An earlier one is replaced when the new one is complete.

    <param type='string' name='arch' default='that of this machine'>
    Architecture.
    </param>
    <param type='string' name='rolls' default='the enabled rolls'>
    Rolls to build from, as in "hello,1.0 extra", instead of those that are enabled; a name alone is its newest version.
    With it no database is needed.
    </param>
    <param type='string' name='root' default='rolls in the folder that rocks report distro prints' of='folder'>
    Folder of the rolls.
    </param>
    <param type='string' name='dist' default='rocks-dist'>
    Name of the distribution.
    </param>

    <example cmd='create distro'>
    Build the folder rocks-dist of the enabled rolls.
    </example>
    <example cmd='create distro rolls="hello,1.0"'>
    Build it from one roll, without a database.
    </example>

    <related>enable roll</related>
    <related>report distro</related>
    """

    NoDryRun = "it works on rolls and distributions of this machine, and changes no host"

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Build the distribution, and print what it has."""
        arch = self.fillText("arch", platform.machine())
        given, rolls = self.fillText("root", ""), self.fillText("rolls", "")
        # the folder that is printed is there without a database, too
        root = Path(given).absolute() if given else Path(self.command("report.distro").strip()) / ROLLS
        chosen = rolls_by_text(root, rolls, arch) if rolls else enabled_rolls(self.db)
        served = None if given or rolls else distribution_folder(self.db)
        self.db.end_reading()
        done = build_distribution(root, chosen, self.fillText("dist", DEFAULT_DISTRIBUTION), arch, Path())
        self.addLine(
            f"{done.folder}: {counted(len(chosen), 'roll')}, {counted(done.debs, 'deb package')}, "
            f"{counted(done.rpms, 'rpm package')}"
            + (", the installer of hosts" if done.has_installer else "")
        )
        if not chosen:
            self.notify(
                "no roll is enabled, so hosts find no packages here: rocks list roll, then rocks enable roll NAME"
            )
        if served is not None and served.resolve() != Path().resolve():
            self.notify(
                f"hosts are served what is in {served}, not this: cd {served}, then repeat the command"
            )
