"""The whole lab: built, started, brought to a clean state, stopped. Any call may follow a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.build.parts import Built
from lab.machines import keys, seed
from lab.machines.emulator import SEED
from lab.machines.machine import LabMachine
from lab.machines.power import State
from lab.machines.roster import MACHINES, Description, Role
from lab.machines.site import configure
from lab.progress import Progress

_BOOT_DEADLINE_SECONDS = 300.0


class Lab:
    """The machines over one state folder. `built` has their parts. For use inside the namespace."""

    def __init__(
        self, folder: Path, built: Built, with_kvm: bool, descriptions: Sequence[Description] = MACHINES
    ) -> None:
        self.folder = folder
        self._built = built
        self._descriptions = tuple(descriptions)
        self.keys = folder / "keys"
        self.machines = {
            description.name: LabMachine(
                description, folder / "machines" / description.name, self.keys, built, with_kvm
            )
            for description in self._descriptions
        }

    @property
    def counting_guest(self) -> Path:
        """The boot sector of the guest that counts."""
        return self._built.instruments / "counting_guest.bin"

    @property
    def reading_guest(self) -> Path:
        """The boot sector of the guest that reads 64 MiB before it reports that it is ready."""
        return self._built.instruments / "reading_guest.bin"

    @property
    def model_writer(self) -> Path:
        """The program that writes, remembers and compares; linked statically, for any machine."""
        return self._built.instruments / "model_writer"

    @property
    def kernel(self) -> Path:
        """The hosts' kernel, for a guest of theirs."""
        return self._built.kernel(Role.HOST.value)

    def __getitem__(self, name: str) -> LabMachine:
        """The machine of that name."""
        return self.machines[name]

    def start(self, progress: Progress) -> None:
        """To all machines running, configured as a site's, and their clean state saved; what runs stays as it is.

        HostError when a machine does not come up.
        """
        fresh = [machine for machine in self.machines.values() if not machine.is_complete()]
        if fresh:
            with progress.step(f"files of {_names(fresh)}"):
                keys.ensure_keys(self.keys, [machine.name for machine in fresh])
                for machine in fresh:
                    machine.kill()
                    self.prepare(machine)
        off = [machine for machine in self.machines.values() if machine.state() is State.OFF]
        if off:
            with progress.step(f"{_names(off)} boot until SSH answers and their daemons run"):
                together(lambda machine: machine.boot(_BOOT_DEADLINE_SECONDS), off)
        if fresh:
            with progress.step(f"{_names(fresh)}: pools, features probed"):
                together(configure, fresh)
            with progress.step("their clean state, saved"):
                together(LabMachine.save_clean_state, fresh)

    def return_to_clean_state(self) -> float:
        """Every machine as it was when the lab had started, whatever a test did; returns the seconds that took."""
        begin = time.monotonic()
        together(LabMachine.return_to_clean_state, self.machines.values())
        return time.monotonic() - begin

    def clean_since(self) -> list[float]:
        """When the clean state of each machine was saved, in seconds since 1970."""
        return [machine.clean_since() for machine in self.machines.values()]

    def save_state(self, tag: str) -> None:
        """Keep every machine as it is now, to return to it by the tag."""
        together(lambda machine: machine.save_state(tag), self.machines.values())

    def return_to(self, tag: str) -> None:
        """Every machine as it was when the tag was saved."""
        together(lambda machine: machine.return_to(tag), self.machines.values())

    def prepare(self, machine: LabMachine) -> None:
        """Have the machine's files anew: disks, keys, addresses."""
        machine.prepare_folder()
        secrets = keys.secrets_of(self.keys, machine.name)
        base = self._built.initramfs(machine.description.role.value)
        seed.write_seed(machine.description, self._descriptions, secrets, base, machine.folder / SEED)


def together(work: Callable[[LabMachine], object], machines: Iterable[LabMachine]) -> None:
    """Do it to all machines at the same time; the first error is raised when all have ended."""
    chosen = list(machines)
    with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
        for future in [pool.submit(work, machine) for machine in chosen]:
            future.result()


def _names(machines: Iterable[LabMachine]) -> str:
    return ", ".join(machine.name for machine in machines)
