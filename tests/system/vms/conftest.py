"""A site of three machines on this one: the frontend with the database, and two hosts reached by real SSH.

Each machine has files, processes, a libvirtd and an agent of its own; the three share one network, in which the
devices of each have a name of their own. Guests have empty disks: for these tests it is enough that QEMU runs.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vms.site import ThreeMachines

FROM_NAS = '''
import rocks.commands

class Plugin(rocks.commands.Plugin):
    """Stands for image storage: the disk that a NAS has is a file of whichever host starts the machine."""

    def provides(self):
        return "test_nas"

    def precedes(self):
        return ["allocate_imgstorage"]

    def run(self, node):
        self.db.execute("DELETE FROM img_nas_server")
'''


@pytest.fixture(scope="session")
def three_machines() -> Iterator[ThreeMachines]:
    """The running site; built once, ended with the run. Skips where its programs are missing."""
    if os.geteuid() != 0:
        pytest.skip("mount namespaces and libvirt need root")
    for program in (
        "/usr/sbin/libvirtd",
        "/usr/sbin/sshd",
        "/usr/sbin/mariadbd",
        "/usr/bin/qemu-system-x86_64",
    ):
        if not Path(program).exists():
            pytest.skip(f"{program} is not installed")
    folder = Path(tempfile.mkdtemp(prefix="rocks-vms-"))
    folder.chmod(0o755)
    machines = ThreeMachines(folder)
    try:
        machines.start()
        yield machines
    finally:
        machines.stop()
        shutil.rmtree(folder)


@pytest.fixture
def site(three_machines: ThreeMachines) -> Iterator[ThreeMachines]:
    """The site with both hosts up, and afterwards without any virtual machine, lease or fence."""
    three_machines.revive()
    yield three_machines
    three_machines.clean()
    assert three_machines.open_transactions() == ""


@pytest.fixture
def hook_tree(site: ThreeMachines, tmp_path: Path) -> Iterator[Path]:
    """A folder for hooks of `start host vm`, in another command tree of the site's commands."""
    tmp_path.chmod(0o755)
    folder = site.machines["head"].outside("/etc/rocks/trees.d")
    folder.mkdir(exist_ok=True)
    (folder / "test").write_text(f"{tmp_path}\n")
    for package in ("start", "start/host", "start/host/vm"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    yield tmp_path / "start/host/vm"
    (folder / "test").unlink()


@pytest.fixture
def from_nas(site: ThreeMachines, hook_tree: Path) -> Iterator[None]:
    """A hook makes a disk of a NAS a local one."""
    (hook_tree / "plugin_allocate_atest.py").write_text(FROM_NAS)
    yield
    site.sql("DELETE FROM img_nas_server")
