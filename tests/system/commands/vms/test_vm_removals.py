"""`dump host vm` and `remove host vm`, and what a lease or a move keeps; no physical host answers."""

import re
import shlex
from pathlib import Path

import pytest

from rocks.commands._shared import vm_removal
from rocks.core.errors import RocksError
from rocks.leases import lease as vm_locks
from tests.command_trees import write_hook
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_attributes import read_by_shell
from tests.system.commands.vms.vm_records import SET, interfaces


def test_dump_host_vm_is_the_line_of_the_specification(samples: Site) -> None:
    assert samples.rocks(*SET, "cdrom", "fe-a", "/x y.iso").status == 0
    printed = samples.done("dump host vm web-a fe-a")
    assert re.sub(r" uuid=[0-9a-f-]{36}$", "", printed, flags=re.MULTILINE) == (
        "/opt/rocks/bin/rocks set host vm fe-a physnode=localhost"
        " disk=file:/state/partition1/kvm/disks/fe-a.vda,vda,virtio disksize=36 mem=2048 slice=0 virt-type=hvm\n"
        "/opt/rocks/bin/rocks set host vm cdrom fe-a cdrom=/x\\ y.iso\n"
        "/opt/rocks/bin/rocks set host vm web-a physnode=vmc-0-0"
        " disk=file:/state/partition1/kvm/disks/web-a.vda,vda,virtio disksize=36 mem=2048 slice=0 virt-type=hvm\n"
    )
    assert samples.done("dump host vm head") == samples.done("dump host vm nothing%") == ""


def test_a_removed_machine_is_an_ordinary_host(samples: Site) -> None:
    samples.done("set host vm web-a slice=7")
    (line,) = samples.done("dump host vm web-a").splitlines()
    uuid = line.rpartition(" uuid=")[2]
    ended = samples.rocks("remove host vm web-a")
    assert (ended.status, ended.out) == (0, "")
    warning, image, outcome = ended.err.splitlines()
    assert warning.startswith(
        "Warning (libvirt): web-a is removed from the database, but the host does not answer"
    )
    assert warning.endswith(". No host may run web-a, which holds no lease")
    assert "physnode=HOST" not in warning, "what a stop advises is about a machine that stays"
    assert image == (
        "whether disk images stay on vmc-0-0, which does not answer, is not known; when it does: "
        "rocks list host image vmc-0-0"
    )
    assert outcome == (
        "web-a: an ordinary host from now on, in no cluster; its name stays in use. To remove it, too: "
        "rocks remove host web-a; to make it a virtual machine again: rocks set host vm web-a physnode=vmc-0-0 "
        f"disk=file:/state/partition1/kvm/disks/web-a.vda,vda,virtio disksize=36 slice=7 mem=2048 uuid={uuid}"
    )
    assert samples.done("list host vm web-a") == ""
    assert samples.database.rows("SELECT COUNT(*) FROM vm_disks WHERE Name = 'web-a.vda'") == [(0,)]
    assert len(interfaces(samples, "web-a")) == 2
    assert samples.done("list host boot web-a") == "ACTION \ninstall\n"
    (found,) = (row.split(None, 3) for row in samples.rocks("check site").out.splitlines() if "web-a" in row)
    assert found[:3] == ["host", "web-a:", "ok"] and found[3].rstrip().endswith("rocks remove host web-a")
    assert "host web-a is not a virtual host" in samples.refused("remove host vm web-a")
    ((_, *again),) = read_by_shell(outcome.rpartition("again: rocks ")[2].join(("p rocks ", "\n")))
    samples.done(shlex.join(again))
    assert samples.done("dump host vm web-a").strip() == line


@pytest.mark.parametrize("command", [("remove", "host", "vm"), ("remove", "host")], ids=" ".join)
def test_hooks_of_remove_host_vm_run_before_the_machine_goes(
    samples: Site, tree: Path, command: tuple[str, ...]
) -> None:
    log = tree / "log"
    methods = (
        "def run(self, node):\n"
        "    rows = self.db.rows('SELECT COUNT(*) FROM vm_nodes')\n"
        f"    with open({str(log)!r}, 'a') as file:\n"
        "        file.write(f'{node.name} {node.vm_defs.physNode} {node.vm_defs.disks[0].path} {rows[0][0]}\\n')\n"
    )
    write_hook(tree, "remove/host/vm", "storage", methods)
    assert samples.rocks(*command, "web-a").status == 0
    assert log.read_text() == "web-a vmc-0-0 /state/partition1/kvm/disks/web-a.vda 3\n"


def test_a_failed_hook_prevents_the_removal(samples: Site, tree: Path) -> None:
    write_hook(tree, "remove/host/vm", "storage", "def run(self, node): 1 / 0\n")
    message = samples.refused("remove host vm web-a")
    assert message.startswith('the plugin "storage" of "remove host vm" has a fault (ZeroDivisionError')


def test_a_host_that_does_not_answer_starts_nothing_and_holds_no_lease(samples: Site) -> None:
    ended = samples.rocks("start host vm web-a")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("Error: web-a is not started: ")
    assert samples.database.rows("SELECT Name, Host, State FROM vm_leases") == [("web-a", None, "released")]


def test_a_machine_that_another_command_changes_is_left_alone(samples: Site) -> None:
    samples.patch.setattr(vm_locks, "LOCK_WAIT_SECONDS", 0.0)
    samples.database.lock("vm web-a", 0)
    message = "another command is changing web-a at this moment"
    assert message in samples.refused(*SET, "web-a", "mem=64")
    assert message in samples.refused(*SET, "cdrom", "web-a", "/x.iso")
    assert message in samples.refused("remove host vm web-a")
    samples.done(*SET, "fe-a", "mem=64")
    samples.database.unlock("vm web-a")
    samples.done(*SET, "web-a", "mem=64")


def test_a_removal_says_that_another_command_was_faster(samples: Site) -> None:
    def lock(*_: object) -> dict[str, RocksError]:
        samples.change("DELETE FROM vm_disks WHERE Name = 'fe-a.vda'")
        samples.change("DELETE FROM vm_nodes WHERE Node = (SELECT ID FROM nodes WHERE Name = 'fe-a')")
        return {}

    samples.patch.setattr(vm_removal, "lock_vms", lock)
    ended = samples.rocks("remove cluster fe-a")
    assert ended.status == 1
    assert (
        "another command has removed fe-a meanwhile, and this one nothing; to remove the others" in ended.err
    )
    assert samples.done("list host vm vm-fe-a-0")


def test_a_host_gets_no_machine_under_a_name_whose_lease_is_held(samples: Site) -> None:
    """A machine of that name was removed, and may be running still: `stop` would mean both."""
    samples.take_lease("web-a", "vmc-0-1", token=3)
    assert samples.rocks("remove host web-a").status == 0
    samples.done("add host web-a membership=compute rack=7 rank=7")
    for parameter in ("physnode=vmc-0-0", "virt-type=hvm"):
        message = samples.refused(*SET, "web-a", parameter)
        assert message.startswith("web-a may still be running on vmc-0-1, but is not in the database")
        assert "rocks stop host vm web-a" in message
    samples.change("UPDATE vm_leases SET State = 'released', Host = NULL")
    samples.done(*SET, "web-a", "physnode=vmc-0-0")


@pytest.mark.parametrize("host", ["vmc-0-1", None])
def test_a_machine_is_sought_where_its_lease_is(samples: Site, host: str | None) -> None:
    """Not on the one that `physnode=` names since."""
    samples.take_lease("web-a", "vmc-0-0", token=3)
    if host is None:
        samples.change(
            "UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node SET v.PhysNode = NULL WHERE n.Name = 'web-a'"
        )
    else:
        samples.rocks(*SET, "web-a", f"physnode={host}")
    error = samples.rocks("remove host vm web-a").err
    assert "its host vmc-0-0 cannot be asked (this machine has no SSH key in /nowhere/key" in error
    assert "whether disk images stay on vmc-0-0, which does not answer, is not known" in error
    assert "vmc-0-1" not in error.partition("an ordinary host")[0]
    assert samples.database.rows("SELECT Host, Token FROM vm_leases") == [("vmc-0-0", 3)]


def test_a_whole_cluster_may_go_with_machines_that_have_no_host(samples: Site) -> None:
    samples.change("UPDATE vm_nodes SET PhysNode = NULL WHERE Mem = 1024")
    assert " physnode=" not in samples.done("dump host vm vm-fe-a-0")
    assert samples.rocks("remove host vm web-a fe-a vm-fe-a-0").status == 0
    assert samples.done("list host vm") == ""


COPY = "/var/lib/rocks-images/web.vda"


@pytest.mark.parametrize("disks", ["keep", "remove"])
def test_a_copy_that_stays_is_named(vm_site: Site, disks: str) -> None:
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=web")
    vm_site.change(
        "INSERT INTO vm_disk_copies (Vm_Node, Host, Path) SELECT v.ID, h.ID, %s FROM vm_nodes v"
        " JOIN nodes n ON n.ID = v.Node AND n.Name = 'web' JOIN nodes h ON h.Name = 'vmc-0-1'",
        [COPY],
    )
    ended = vm_site.rocks("remove host vm web", f"disks={disks}")
    assert f"the copy vmc-0-1:{COPY} of a disk of web, which a move has left, may stay" in ended.err
    assert f"rocks remove host image vmc-0-1 '{COPY}'" in ended.err
