"""A site with hosts in memory and a real MariaDB. Nothing here starts another program."""

from pathlib import Path

import pytest

from rocks.leases import lease as vm_locks
from rocks.machine.host import change
from rocks.machine.host.libvirt import accelerator
from tests.system.commands.conftest import Site, rocks, silent_hosts, site, vm_site
from tests.system.machines.site import MachineSite

__all__ = ["rocks", "silent_hosts", "site", "vm_site"]


@pytest.fixture
def machines(vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MachineSite:
    """The site without virtual machines; its hosts have no KVM."""
    monkeypatch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(change, "RELEASE_SECONDS", 0.0)
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")
    made = MachineSite(vm_site, tmp_path / "hosts")
    made.install(monkeypatch.setattr)
    return made
