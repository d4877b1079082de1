"""The guest boots from its disk under libvirt, reports its name, and obeys its power button."""

import os
import sys
import time
from pathlib import Path

import pytest

from lab import console, libvirtd
from lab.guest import disk_image, image
from lab.namespace import IMAGE_FOLDER, Machine
from lab.processes import end
from rocks.core.errors import StateError
from rocks.core.process import run_checked
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT
from tests.waiting import wait_until

KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
NAME = "vm-test-0"
MAC = "02:71:00:80:00:02"
CONSOLE_LOG = f"/var/log/libvirt/qemu/{NAME}.log.serial"


@pytest.fixture(scope="session")
def base_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base image built from the kernel that the set-up has unpacked."""
    if not KERNEL.exists():
        pytest.skip("the guests' kernel is not unpacked: run `make setup`")
    return image.ensure_base_image(KERNEL, tmp_path_factory.mktemp("images"))


def test_a_base_image_is_built_once_and_copied_sparsely(base_image: Path, tmp_path: Path) -> None:
    built = base_image.stat().st_mtime_ns
    assert image.ensure_base_image(KERNEL, base_image.parent) == base_image
    assert base_image.stat().st_mtime_ns == built
    disk = tmp_path / "disk"
    image.make_disk(base_image, disk, NAME, 36 * 1000**3)
    status = disk.stat()
    assert status.st_size == 36 * 1000**3 and status.st_blocks * 512 <= disk_image.IMAGE_BYTES
    assert list(tmp_path.iterdir()) == [disk]


def test_a_disk_that_is_there_is_never_written_over(base_image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"precious")
    with pytest.raises(StateError, match="already"):
        image.make_disk(base_image, disk, NAME, 36 * 1000**3)
    assert disk.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [disk]


def test_the_guest_reports_its_name_and_mac_and_goes_when_its_power_button_is_pressed(
    base_image: Path, machine: Machine, bridge: str
) -> None:
    machine.start()
    libvirtd.start(machine, kvm_works=False)
    image.make_disk(base_image, machine.outside(f"{IMAGE_FOLDER}/{NAME}.img"), NAME, 1000**3)
    begin = time.monotonic()
    document = _domain(bridge).encode()
    machine.run_checked(["/usr/bin/virsh", "-c", "qemu:///system", "create", "/dev/stdin"], 60, document)
    # 76 s where libvirt sees a /dev/kvm that does not work
    assert time.monotonic() - begin < patience(60)
    log = machine.outside(CONSOLE_LOG)
    ready = console.follow_until_ready(log, 0, patience(120), lambda line: None)
    assert ready == console.Ready(NAME, MAC)
    guest = libvirtd.guests(machine)[NAME]
    assert Path(f"/proc/{guest.process_id}").stat().st_uid == libvirtd.QEMU_OWNER
    machine.run_checked(["/usr/bin/virsh", "-c", "qemu:///system", "shutdown", NAME], 10)
    wait_until(lambda: NAME not in libvirtd.guests(machine), "the guest does not react to its power button")


def test_stopping_the_machine_ends_guests_even_when_their_daemon_was_killed(
    base_image: Path, machine: Machine, bridge: str
) -> None:
    machine.start()
    libvirtd.start(machine, kvm_works=False)
    image.make_disk(base_image, machine.outside(f"{IMAGE_FOLDER}/{NAME}.img"), NAME, 1000**3)
    document = _domain(bridge).encode()
    machine.run_checked(["/usr/bin/virsh", "-c", "qemu:///system", "create", "/dev/stdin"], 60, document)
    daemon = machine.daemon("libvirtd")
    assert daemon is not None
    end([daemon], grace_seconds=0)
    assert list(libvirtd.guests(machine)) == [NAME]
    done = libvirtd.stop(machine) + machine.stop()
    assert f"ended the guest {NAME}" in done and libvirtd.guests(machine) == {}


def test_a_guest_is_off_at_once_where_process_1_reaps_no_children(
    base_image: Path, machines_folder: Path
) -> None:
    """As in a container that runs `sleep infinity`; libvirt alone would wait 40 s for the guest to go."""
    program = f"""
import sys, time
from pathlib import Path
from lab import libvirtd, links
from lab.guest import image
from lab.namespace import Machine
machine = Machine(Path({str(machines_folder / "in a container")!r}))
machine.folder.mkdir()
virsh = ["/usr/bin/virsh", "-c", "qemu:///system"]
try:
    machine.start()
    machine.in_network(lambda: links.ensure_bridge("rockstest0", "made by a test"))
    libvirtd.start(machine, kvm_works=False)
    disk = machine.outside("{IMAGE_FOLDER}/{NAME}.img")
    image.make_disk(Path({str(base_image)!r}), disk, "{NAME}", 1000**3)
    machine.run_checked([*virsh, "create", "/dev/stdin"], 60, {_domain("rockstest0").encode()!r})
    begin = time.monotonic()
    machine.run_checked([*virsh, "destroy", "{NAME}"], 60)
    print("seconds", time.monotonic() - begin)
finally:
    machine.stop()
"""
    own_processes = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    finished = run_checked(
        [*own_processes, sys.executable, "-c", program],
        deadline_seconds=patience(150),
        environment={"PATH": os.environ["PATH"], "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"},
    )
    assert float(finished.text.split()[-1]) < 20


def test_a_working_kvm_is_given_to_guests_and_a_broken_one_hidden(machine: Machine) -> None:
    if not Path("/dev/kvm").exists():
        pytest.skip("this machine has no /dev/kvm to give or to hide")
    look = [
        "/usr/bin/setpriv",
        f"--reuid={libvirtd.QEMU_OWNER}",
        "--clear-groups",
        "/usr/bin/test",
        "-w",
        "/dev/kvm",
    ]
    machine.start()
    libvirtd.start(machine, kvm_works=False)
    assert machine.run(look, 5).exit_status == 1
    machine.stop()
    machine.start()
    libvirtd.start(machine, kvm_works=True)
    assert machine.run(look, 5).exit_status == 0
    assert machine.run(["/usr/bin/test", "-c", "/dev/kvm"], 5).exit_status == 0


def _domain(bridge: str) -> str:
    return f"""<domain type='qemu'><name>{NAME}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/><apic/></features>
<cpu mode='maximum'/><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{IMAGE_FOLDER}/{NAME}.img'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='direct'><source dev='{bridge}' mode='bridge'/><mac address='{MAC}'/><model type='virtio'/></interface>
<serial type='pty'><log file='{CONSOLE_LOG}'/></serial></devices></domain>"""
