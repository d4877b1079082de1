"""The checkout's modules over those of the packages, for a developer: on all machines, in their clean state."""

from __future__ import annotations

from lab.build import own_packages
from lab.machines.checkout import record_patch
from lab.machines.lab import Lab, together
from lab.machines.machine import LabMachine

_ARCHIVE = "/var/tmp/modules.tar"
_DEADLINE_SECONDS = 120.0


def patch(lab: Lab) -> None:
    """From now on the clean state has them; units and dependencies remain those of the packages.

    After an interruption the lab is refused until this is done again.
    """
    archive, key = own_packages.modules_archive(), own_packages.modules_key()
    lab.return_to_clean_state()
    record_patch("interrupted")

    def replace_modules(machine: LabMachine) -> None:
        machine.write_file(_ARCHIVE, archive)
        folder = own_packages.MODULES_FOLDER
        machine.shell(
            f"rm -rf {folder}/rocks\ntar -xf {_ARCHIVE} -C {folder}\nrm {_ARCHIVE}\n", _DEADLINE_SECONDS
        )
        machine.save_clean_state()

    together(replace_modules, lab.machines.values())
    record_patch(key)
