"""Copies of disks that a move made or left are no disks, and disks in doubt are not used."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.machine.disks import check_no_copies, check_no_doubt
from rocks.machine.record import DiskCopy
from tests.unit.machines import container, machine

HERE = container("vmc-0-0")
VM = machine(place=HERE, disks=("file:/images/web.vda,vda,virtio",))


def test_a_copy_is_no_disk() -> None:
    copy = DiskCopy("vmc-0-0", VM.disks[0].path)
    with pytest.raises(StateError, match="may be old or incomplete; rocks move host vm web vmc-0-0"):
        check_no_copies(VM, HERE, VM.disks, [copy])
    check_no_copies(VM, container("vmc-0-1"), VM.disks, [copy])
    check_no_copies(VM, None, VM.disks, [copy])
    check_no_copies(VM, HERE, VM.disks, [DiskCopy("vmc-0-0", "/images/other.vda")])


def test_disks_in_doubt_are_not_used() -> None:
    check_no_doubt(VM)
    with pytest.raises(StateError, match="given up by force.* or, to keep those of vmc-0-0"):
        check_no_doubt(replace(VM, doubted_host="vmc-0-1"))
    with pytest.raises(StateError, match="disks are those of the snapshot before in part"):
        check_no_doubt(replace(VM, restoring="before"))
