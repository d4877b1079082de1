"""A whole site on this machine: a machine of the lab with database, agent and libvirt, brought to a state by one call.

`bring_up` and `tear_down` may be called in any state, a half-started or crashed one too, and any number of times.
"""

from __future__ import annotations

import enum
import filecmp
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab import accelerator, agent_archive, database, libvirtd, sshd
from lab.namespace import CHECKOUT, Machine, Network
from lab.progress import Progress
from rocks.core.errors import StateError
from rocks.core.process import Finished, run

_HOOK = "/etc/libvirt/hooks/qemu.d/rocks"
_HOOK_PROGRAM = "/opt/rocks/libexec/rocks-libvirt-hook"
_MARKER = "made-by-rocks-lab"


class SiteState(enum.Enum):
    """The state of a site: `UNKNOWN` after a crash or an interrupt, which both calls repair."""

    STOPPED = "stopped"
    RUNNING = "running"
    UNKNOWN = "unknown"


class Site:
    """A site over `folder`, which it makes and removes; the folder `cache` has results that later sites reuse."""

    def __init__(self, folder: Path, cache: Path, network: str = Network.OWN) -> None:
        self.folder = folder.absolute()
        self.machine = Machine(self.folder, network)
        self._cache = cache

    def state(self) -> SiteState:
        """The present state, by the processes that run."""
        if (
            self.machine.is_running()
            and database.is_running(self.machine)
            and libvirtd.is_running(self.machine)
        ):
            return SiteState.RUNNING
        if self.folder.exists() or self.machine.members():
            return SiteState.UNKNOWN
        return SiteState.STOPPED

    def bring_up(self, progress: Progress) -> None:
        """To RUNNING: machine, database server, agent and libvirt. Parts that run already stay as they are.

        `rocks update database` makes the tables of the cluster database, not this function. The site ends with the
        calling process unless its machine is released. StateError for a folder that no site made, HostError and
        ToolError as the parts raise them.
        """
        self._take_folder()
        with progress.step("machine: files, processes and network of its own"):
            self.machine.start()
        with progress.step("database: a private MariaDB, unix socket only"):
            database.start(self.machine)
        with progress.step("host agent: built and unpacked into the machine's /opt/rocks"):
            self._install_agent()
        if not libvirtd.is_running(self.machine):
            with progress.step("KVM: does a probe guest boot under it?"):
                found = accelerator.ask(self.machine, self._cache)
            progress.print(f"    {'KVM' if found.kvm_works else 'emulation (TCG)'}: {found.reason}")
            with progress.step("libvirt: a libvirtd of its own, local socket only"):
                libvirtd.start(self.machine, found.kvm_works)

    def tear_down(self) -> list[str]:
        """To STOPPED: end and remove everything that `bring_up`, and work on the site, made.

        Returns a line for each thing that was done.
        """
        done = libvirtd.stop(self.machine)
        done += sshd.stop(self.machine)
        done += database.stop(self.machine)
        done += self.machine.stop()
        if (self.folder / _MARKER).exists():
            shutil.rmtree(self.folder)
            done.append(f"removed {self.folder} with the site's database, disks and logs")
        elif self.folder.exists() and any(self.folder.iterdir()):
            done.append(f"left {self.folder} alone: it was not made by this program")
        return done

    def rocks(self, arguments: Sequence[str], deadline_seconds: float) -> Finished:
        """Run `bin/rocks` on this site, as its user would."""
        environment = {**os.environ, "ROCKS_STATE": str(self.folder)}
        program = str(CHECKOUT / "bin" / "rocks")
        return run([program, *arguments], deadline_seconds=deadline_seconds, environment=environment)

    def _install_agent(self) -> None:
        """As its package would: the program, and libvirt's hook. Files that are the same are not written again."""
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
            agent_archive.install(Path(fresh))
            for file in (path for path in Path(fresh).rglob("*") if path.is_file()):
                installed = self.machine.outside("/opt/rocks") / file.relative_to(fresh)
                if not (installed.exists() and filecmp.cmp(file, installed, shallow=False)):
                    installed.parent.mkdir(parents=True, exist_ok=True)
                    file.replace(installed)  # whole at once: an agent may be reading the old one
        hook = self.machine.outside(_HOOK)
        hook.parent.mkdir(parents=True, exist_ok=True)
        if not hook.is_symlink():
            hook.symlink_to(_HOOK_PROGRAM)

    def _take_folder(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _MARKER).exists():
            raise StateError(
                f"{self.folder} has files that no site made; it is left alone. Move it elsewhere"
            )
        if not self.folder.exists():
            self.folder.mkdir(mode=0o755, parents=True)
        (self.folder / _MARKER).touch()
