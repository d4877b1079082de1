"""Volume groups, arrays and pools on the disks of guests are nothing for the host that has these disks."""

from lab.machines.machine import LabMachine
from lab.machines.profile import run_profile
from tests.lab.lab_site import LabSite
from tests.lab.test_storage_path import _DEVICE, log_in, volume_digest

SUBJECTS = ("src/rocks/machine/domain.py", "src/rocks/install/graph")

__all__ = ["volume_digest"]


# What guests may have written: a volume group, an array, and a pool with the name of the host's own.
_WRITE_DISKS = r"""
all='devices { global_filter = [ "a|.*|" ] }'
for disk in lvm md zfs; do zfs create -s -V 72M vmpool/guest-$disk; done
udevadm settle
pvcreate --quiet --config "$all" /dev/zvol/vmpool/guest-lvm
vgcreate --quiet --config "$all" guestvg /dev/zvol/vmpool/guest-lvm
lvcreate --quiet --config "$all" --zero n --wipesignatures n --size 32M --name root guestvg
vgchange --quiet --config "$all" --activate n guestvg
mdadm --quiet --create /dev/md/guest --run --level 1 --raid-devices 2 --metadata 1.2 /dev/zvol/vmpool/guest-md missing
mdadm --quiet --stop /dev/md/guest
truncate --size 72M /root/pool
zpool create -t guestpool -m none vmpool /root/pool
zpool export guestpool
dd if=/root/pool of=/dev/zvol/vmpool/guest-zfs bs=1M conv=fsync status=none
"""


def test_the_host_neither_probes_nor_assembles_nor_imports_what_guests_wrote(
    site: LabSite, volume_digest: str
) -> None:
    """Before the profile it does: volume group and array are active as soon as udev sees the disks."""
    host = site.lab["vmh1"]
    host.shell(_WRITE_DISKS, 180)
    host.shell("systemctl enable --quiet zfs-import-scan.service")
    _see_again(host)
    assert _found(host) == {"active volumes": "guestvg-root", "arrays": "1"}
    assert "pool: vmpool" in host.run_any(["zpool", "import"]).text

    host.shell("vgchange --activate n guestvg; mdadm --quiet --stop --scan", 60)
    site.done("set", "host", "attr", "vmh1", "img_storage_vm", "yes")
    first = run_profile(host, site.frontend)
    assert "changed: file /etc/udev/rules.d/57-rocks-guest-disks.rules" in first
    assert "changed: file /etc/lvm/lvm.conf" in first
    assert "changed: file /etc/mdadm/mdadm.conf" in first
    assert "changed: unit zfs-import-scan.service disabled" in first
    _see_again(host)
    assert _found(host) == {"active volumes": "", "arrays": "0"}
    assert "guestvg" not in host.run_any(["vgs"]).text
    host.run_any(["mdadm", "--assemble", "--scan"])
    assert _found(host)["arrays"] == "0"
    assert "vmpool" not in host.run_any(["zpool", "import", "-d", "/dev/disk/by-id"]).text

    log_in(host)  # the profile has no new disk looked for by itself
    host.shell(
        "for scan in /sys/class/scsi_host/host*/scan; do echo '- - -' >$scan; done; udevadm settle", 60
    )
    marked = host.shell("ls /dev/rocks-guest-disks").split()
    assert [name for name in marked if name.startswith("sd")]
    assert host.run_any(["test", "-b", _DEVICE]).exit_status == 0, "the daemon finds it"
    assert set(host.shell("basename -a $(readlink -f /dev/zvol/vmpool/guest-*)").split()) <= set(marked)
    assert run_profile(host, site.frontend).count("changed: ") == 0


def _see_again(host: LabMachine) -> None:
    host.shell("udevadm trigger --subsystem-match=block --action=add --settle\nudevadm settle", 60)


def _found(host: LabMachine) -> dict[str, str]:
    """What the host has taken from disks of guests."""
    volumes = host.shell("dmsetup ls | awk '/^guestvg/ { print $1 }'")
    arrays = host.shell("grep -c '^md' /proc/mdstat || true")
    return {"active volumes": volumes.strip(), "arrays": arrays.strip()}
