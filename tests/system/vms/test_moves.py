"""`rocks move host vm`: a stopped machine moves to another host with its disks, on real hosts."""

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.machine.host.files.owners import ATTRIBUTE
from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines, wait_until

pytestmark = [pytest.mark.system]

OLD, NEW = HOSTS
VM = "vm-move-0"
MAX_SECONDS = 120.0


class Mover:
    """A machine on the first host whose disk has content."""

    def __init__(self, site: ThreeMachines) -> None:
        self.site = site
        site.add_vm(VM, OLD)
        self.path = f"{IMAGES}/{self.disk()}"
        self.file(OLD).touch(0o600)
        uuid = site.sql(f"SELECT v.UUID FROM vm_nodes v JOIN nodes n ON n.ID = v.Node WHERE n.Name = '{VM}'")[
            0
        ][0]
        os.setxattr(self.file(OLD), ATTRIBUTE, uuid.encode())
        os.truncate(self.file(OLD), 10**9)
        self.write(random.Random(1).randbytes(3_000_000))

    def disk(self) -> str:
        return str(
            self.site.sql(
                "SELECT d.Name FROM vm_disks d JOIN vm_nodes v ON v.ID = d.Vm_Node"
                f" JOIN nodes n ON n.ID = v.Node WHERE n.Name = '{VM}'"
            )[0][0]
        )

    def file(self, host: str, suffix: str = "") -> Path:
        return self.site.machines[host].outside(self.path + suffix)

    def write(self, data: bytes, host: str = OLD) -> None:
        with self.file(host).open("r+b") as file:
            file.seek(700_000_000)
            file.write(data)

    def digest(self, host: str) -> str:
        with self.file(host).open("rb") as file:
            file.seek(700_000_000)
            return hashlib.sha256(file.read(4_000_000)).hexdigest()

    def host(self) -> str:
        """Where the database has it."""
        return str(
            self.site.sql(
                "SELECT p.Name FROM vm_nodes v JOIN nodes n ON n.ID = v.Node JOIN nodes p ON p.ID = v.PhysNode"
                f" WHERE n.Name = '{VM}'"
            )[0][0]
        )

    def copies(self) -> int:
        return int(str(self.site.sql("SELECT COUNT(*) FROM vm_disk_copies")[0][0]))

    def starts_once(self, digest: str) -> None:
        """It starts where the database has it, with its content, and cannot be made to start elsewhere with a copy."""
        here = self.host()
        other = NEW if here == OLD else OLD
        assert self.digest(here) == digest
        self.site.done(f"start host vm {VM}")
        assert VM in self.site.domains(here) and VM not in self.site.domains(other)
        self.site.done(f"stop host vm {VM}")
        if self.file(other).exists():
            assert "is a copy of the disk" in self.site.refused(f"set host vm {VM} physnode={other}")

    def has_moved(self, digest: str) -> None:
        assert (self.host(), self.copies()) == (NEW, 0)
        assert not self.file(OLD).exists() and not self.file(NEW, ".moving").exists()
        self.starts_once(digest)


@pytest.fixture
def mover(site: ThreeMachines) -> Iterator[Mover]:
    yield Mover(site)
    site.revive()


def test_a_machine_moves_with_its_disk(mover: Mover) -> None:
    digest, site = mover.digest(OLD), mover.site
    assert f"{OLD}" in site.done(f"move host vm {VM} {NEW} dry-run=yes")
    assert mover.host() == OLD and not mover.file(NEW).exists()
    printed = site.done(f"move host vm {VM} {NEW}")
    assert f"{VM} is on {NEW} now" in printed and f"the old copy of {VM} on {OLD} is removed" in printed
    assert mover.file(NEW).stat().st_blocks * 512 < 5_000_000
    mover.has_moved(digest)
    assert f"{VM} is on {NEW} already" in site.refused(f"move host vm {VM} {NEW}")
    site.done(f"move host vm {VM} {OLD}")
    assert mover.host() == OLD and mover.digest(OLD) == digest and not mover.file(NEW).exists()


def test_a_command_that_is_killed_is_completed_by_repeating_it(mover: Mover) -> None:
    """No other command changes it meanwhile; it starts on one of the hosts with its content after the kill."""
    site = mover.site
    mover.write(os.urandom(20_000_000))
    digest = mover.digest(OLD)
    moving = site.begin(f"move host vm {VM} {NEW}")
    wait_until(mover.file(NEW, ".moving").exists, MAX_SECONDS)
    for line in (f"start host vm {VM}", f"move host vm {VM} {NEW}"):
        ended = site.rocks(line)
        known = (f"another command is changing {VM}", "already")
        assert ended.exit_status == 0 or any(text in ended.error_text for text in known), ended
    moving.kill()
    site.rocks(f"stop host vm {VM}")
    mover.starts_once(digest)
    ended = site.rocks(f"move host vm {VM} {NEW}", MAX_SECONDS)
    assert ended.exit_status == 0 or "already" in ended.error_text, ended.error_text
    mover.has_moved(digest)
