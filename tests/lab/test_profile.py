"""The profiles configure the machines as the graph specifies; a second run changes nothing."""

import re

import pytest

from lab.machines import image_storage
from lab.machines.checkout import CHECKOUT, is_of_isos, is_patched
from lab.machines.lab import Lab, together
from lab.machines.machine import LabMachine
from lab.machines.profile import run_profile
from lab.progress import Progress
from tests.lab.lab_site import LabSite

SUBJECTS = (
    "src/rocks/agent",
    "src/rocks/storage",
    "src/rocks/machine/domain.py",
    "src/rocks/install/graph",
    "docs/packaging.md",
    "packaging/files",
)

_HOOK = "/etc/libvirt/hooks/qemu.d/rocks"
_DISK = "/dev/disk/by-id/virtio-data"
_NOTHING = "profile ends: no changes"


_LOADS_MODULES = 1 << 16  # CAP_SYS_MODULE


def assert_as_packaged(machine: LabMachine, unit: str) -> None:
    """The daemon runs under the package's unit, unchanged, whose hardening is in force; so are the package's files."""
    listed = machine.run(["systemctl", "show", "--property=FragmentPath,DropInPaths,MainPID", unit]).text
    properties = dict(line.split("=", 1) for line in listed.splitlines())
    # systemd names /lib on Debian 12, and /usr/lib on 13
    assert properties["FragmentPath"].removeprefix("/usr") == f"/lib/systemd/system/{unit}"
    assert not properties["DropInPaths"]
    status = machine.run(["cat", f"/proc/{properties['MainPID']}/status"]).text
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert not int(fields["CapBnd"], 16) & _LOADS_MODULES
    package = unit.removesuffix(".service")
    changed = machine.run_any(["dpkg", "--verify", "rocks-common", package]).text.splitlines()
    # pages are left out of the lab's image
    assert is_patched() or [line for line in changed if "/usr/share/" not in line] == []
    page = (CHECKOUT / "docs/packaging.md").read_text("utf-8")
    documented = re.search(rf"\| `{unit}` \| root \| ([\d.]+) \|", page)
    assert documented
    analyze = ["systemd-analyze", "security", "--no-pager", f"--threshold={float(documented[1]) * 10:.0f}"]
    machine.run([*analyze, unit])


@pytest.fixture
def configured(site: LabSite) -> LabSite:
    """A site with image storage, all of whose machines have run their profiles once.

    Before that vmh1 had no hook of libvirt, and vmh2 no pool but an empty disk for one.
    """
    site.lab["vmh1"].run(["rm", _HOOK])
    site.lab["vmh2"].shell(
        f"zpool destroy vmpool\nwipefs --quiet --all {_DISK}-part* {_DISK}\n"
        f"dd if=/dev/zero of={_DISK} bs=1M count=1 conv=fsync status=none\nudevadm settle\n"
    )
    site.done("set", "host", "attr", "vmh2", "img_storage_part_zfs_mirror", "true")
    site.done("set", "host", "attr", "vmh2", "vm_container_zpool_disks", _DISK)
    image_storage.set_up(site.lab, site.frontend, Progress())
    return site


def test_profiles_make_the_machines_and_find_nothing_to_do_again(configured: LabSite) -> None:
    """Units run, hook and pool are there, a stranger does not reach the NAS's ports; again, nothing changes."""
    site = configured
    for machine in site.lab.machines.values():
        unit = image_storage.unit_of(machine)
        assert machine.run(["systemctl", "is-active", unit]).text.strip() == "active"
        assert machine.run(["systemctl", "is-enabled", unit]).text.strip() == "enabled"
        assert_as_packaged(machine, unit)
    assert site.lab["vmh1"].run(["readlink", _HOOK]).text.strip() == "/opt/rocks/libexec/rocks-libvirt-hook"
    assert "node.session.scan = manual" in site.lab["vmh1"].shell("cat /etc/iscsi/iscsid.conf")

    assert site.lab["vmh2"].run(["zpool", "list", "-H", "-o", "health", "vmpool"]).text.strip() == "ONLINE"

    reported: dict[str, str] = {}

    def again(machine: LabMachine) -> None:
        reported[machine.name] = run_profile(machine, site.frontend)

    together(again, site.lab.machines.values())
    assert {name: _NOTHING in text for name, text in reported.items()} == dict.fromkeys(reported, True), (
        reported
    )

    nas, host = site.lab["nas"], site.lab["vmh2"]
    port = ["bash", "-c", "exec 3<>/dev/tcp/10.9.0.10/7443"]
    assert host.run_any(port).exit_status == 0
    nas.shell("sed -i 's/-s 10.9.0.0/-s 10.8.0.0/' /etc/rocks/storage-firewall.rules")
    nas.shell("systemctl restart rocks-storage-firewall.service")
    assert "refused" in host.run_any(port).error_text
    assert "changed: unit rocks-storage-firewall.service restarted" in run_profile(nas, site.frontend)
    assert host.run_any(port).exit_status == 0


def test_machines_of_isos_have_what_runs_on_them_from_packages(lab: Lab) -> None:
    """The modules of ZFS that are loaded belong to the os roll's package for the running kernel; apt has no source."""
    if not is_of_isos():
        pytest.skip("the lab's machines are built from Debian's mirrors: make lab ISOS=…")
    for machine in lab.machines.values():
        owner, _, file = machine.shell('dpkg --search "$(modinfo -F filename zfs)"').strip().partition(": ")
        assert owner == f"rocks-zfs-modules-{machine.run(['uname', '-r']).text.strip()}"
        assert file.endswith("/extra/zfs/zfs.ko")
        versions = machine.shell("modinfo -F srcversion zfs; cat /sys/module/zfs/srcversion").split()
        assert versions[0] == versions[1]
        ours = machine.shell("dpkg-query --show --showformat='${Package}\\n' 'rocks-*'").split()
        assert {"rocks-common", "rocks-zfs-modules"} < set(ours)
        changed = machine.run_any(["dpkg", "--verify", *ours]).text.splitlines()
        assert is_patched() or [line for line in changed if "/usr/share/" not in line] == []
        assert machine.run_any(["apt-get", "indextargets"]).text == ""


def test_a_daemon_starts_when_its_certificate_arrives(configured: LabSite) -> None:
    """A machine whose profile was run before it had a certificate needs no second profile."""
    site = configured
    for name in ("nas", "vmh1"):
        machine = site.lab[name]
        unit = image_storage.unit_of(machine)
        machine.shell(f"systemctl disable --quiet --now {unit}\nrm /etc/rocks/pki/node.pem")
        path = unit.replace(".service", ".path")
        assert f"changed: unit {path} started" in run_profile(machine, site.frontend)
        assert machine.run_any(["systemctl", "is-active", unit]).text.strip() == "inactive"
        site.done("sync", "host", "certificate", machine.description.site_name)
        machine.shell(f"timeout 60 sh -c 'until systemctl is-active --quiet {unit}; do sleep 0.5; done'", 90)
