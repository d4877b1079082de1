"""`list host vm`; no physical host answers."""

import json
import time
from collections.abc import Sequence

import pytest

from rocks.core.errors import StateError
from rocks.database.connection import Database
from rocks.inventory.records import Host
from rocks.machine import record
from rocks.machine.record import delete_vms
from rocks.site.hosts import remove_part
from tests.system.commands.conftest import Site
from tests.system.commands.vms.vm_records import ADD


def test_the_sample_of_one_machine(samples: Site) -> None:
    assert samples.done("list host vm web-a") == (
        "SLICE MEM  CPUS MAC               HOST    VIRT-TYPE\n"
        "0     2048 1    76:77:6e:80:00:00 vmc-0-0 hvm      \n"
        "----- ---- ---- 76:77:6e:80:00:01 ------- ---------\n"
    )


def test_the_sample_of_two_machines_with_disks(samples: Site) -> None:
    assert samples.done("list host vm fe-a vm-fe-a-0 showdisks=1") == (
        "VM-HOST    SLICE MEM  CPUS MAC               HOST    VIRT-TYPE"
        " DISK                                                      DISKSIZE CDROM\n"
        "fe-a:      0     2048 1    76:77:6e:80:00:02 head    hvm      "
        " file:/state/partition1/kvm/disks/fe-a.vda,vda,virtio      36       -----\n"
        "fe-a:      ----- ---- ---- 76:77:6e:80:00:03 ------- ---------"
        " --------------------------------------------------------- -------- -----\n"
        "vm-fe-a-0: 0     1024 1    76:77:6e:80:00:04 vmc-0-0 hvm      "
        " file:/state/partition1/kvm/disks/vm-fe-a-0.vda,vda,virtio 36       -----\n"
    )


def test_all_machines_and_only_machines_are_listed(samples: Site) -> None:
    listed = [found["vm-host"] for found in json.loads(samples.done("list host vm json=yes"))]
    assert listed == ["web-a", "fe-a", "vm-fe-a-0"]
    assert samples.done("list host vm head vmc-0-0") == ""
    assert samples.done("list host vm head json=yes") == "[]\n"
    assert samples.done("list host vm nothing%") == ""
    assert samples.done("list host vm nothing% showdisks=yes status=yes") == ""
    assert "web-a" not in samples.done("list host vm frontend")


def test_further_disks_stand_beside_further_interfaces(samples: Site) -> None:
    samples.done(
        "set host vm web-a 'disk=file:/a,vda,virtio phy:/dev/b,vdb,virtio file:/c,hda,ide' 'disksize=1 2 3'"
    )
    assert samples.rocks("set host vm cdrom web-a '/x y.iso'").status == 0
    assert samples.done("list host vm web-a showdisks=y output-col=mac,disk,disksize,cdrom") == (
        "MAC               DISK                  DISKSIZE CDROM   \n"
        "76:77:6e:80:00:00 file:/a,vda,virtio    1        /x y.iso\n"
        "76:77:6e:80:00:01 phy:/dev/b,vdb,virtio 2        --------\n"
        "----------------- file:/c,hda,ide       3        --------\n"
    )


def test_interfaces_come_in_the_databases_order(samples: Site) -> None:
    samples.done(*ADD, "vmc-0-0", "compute", "name=many", "num-macs=12")
    (found,) = json.loads(samples.done("list host vm many json=yes"))
    macs = [row["mac"] for row in found["vm"]]
    assert macs == sorted(macs) and len(macs) == 12


def test_absent_values_of_a_machine(samples: Site) -> None:
    samples.change("UPDATE vm_nodes SET PhysNode = NULL, Virt_Type = NULL")
    samples.change("DELETE FROM networks WHERE MAC LIKE '76:%'")
    samples.change("DELETE FROM vm_disks")
    assert samples.done("list host vm web-a showdisks=yes status=yes") == (
        "SLICE MEM  CPUS MAC HOST VIRT-TYPE STATUS        DISK DISKSIZE CDROM\n"
        "0     2048 1    --- None para      nostate-error ---- -------- -----\n"
    )


def test_hosts_that_do_not_answer_are_no_long_wait(samples: Site) -> None:
    began = time.monotonic()
    listed = samples.rocks("list host vm status=yes output-col=host,status")
    assert (listed.status, listed.out) == (
        0,
        "HOST    STATUS       \n"
        "vmc-0-0 nostate-error\n"
        "------- -------------\n"
        "head    nostate-error\n"
        "------- -------------\n"
        "vmc-0-0 nostate-error\n",
    )
    head, other = listed.err.splitlines()
    assert head.startswith(
        "Warning: the states of machines on head are unknown: host head, this machine, has no "
    )
    assert other.startswith("Warning: the states of machines on vmc-0-0 are unknown: ")
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_thousand_machines_in_one_list(vm_site: Site) -> None:
    vm_site.done("add cluster 203.0.113.9 1000 fe-name=big cluster-naming=yes")
    names = [f"vm-big-{number}" for number in range(1000)]
    lines = vm_site.done("list host vm", *names, "showdisks=yes").splitlines()
    assert len(lines) == 1001
    assert len(json.loads(vm_site.done("list host vm json=yes"))) == 1001
    assert len(vm_site.done("list cluster big").splitlines()) == 1002
    assert vm_site.done("dump host vm", *names).count("set host vm") == 1000
    assert vm_site.done("report host vm config adapted=no", *names).count("</domain>") == 1000
    assert len(vm_site.done("report host vm virt_type", *names).splitlines()) == 1000


def test_a_machine_that_is_removed_while_it_is_read_is_named(
    samples: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two statements, which see what others have committed."""
    read = record.bare_hosts

    def remove_and_read(database: Database, names: Sequence[str]) -> list[Host]:
        with Database(database.settings) as other:
            delete_vms(other, ["web-a"])
            remove_part(other, ["web-a"], "node")
            other.commit()
        return read(database, names)

    monkeypatch.setattr(record, "bare_hosts", remove_and_read)
    with pytest.raises(StateError, match="^host web-a was removed meanwhile; repeat the command$"):
        record.load_vms(samples.database, ["web-a"])
