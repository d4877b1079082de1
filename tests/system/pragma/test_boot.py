"""`rocks pragma boot`: what it allocates, and that what is refused leaves nothing. No host answers."""

import json
import os
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rocks.database import dry
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests.system.commands.conftest import Site, processes
from tests.system.commands.test_commands_at_once import start
from tests.system.pragma.conftest import DOCK6, KEY, TREE
from tests.system.pragma.test_check_image import disk, partition_table
from tests.system.pragma.test_preparation import SYSTEMD
from tests.unit.pragma.samples import PHASE_4, TALK_VOLUMES, document, domain, file_disk
from tests.unit.pragma.strict_readers import generation_one, generation_two

__all__ = ["processes"]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "ann.pub"
    file.write_text(f"{KEY}\n{KEY[:-3]}100%\n")
    return file


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Starts are recorded, and nothing is started."""
    from rocks.commands.start.cluster import Command

    calls: list[list[str]] = []

    def run(self: Any, params: dict[str, str], args: list[str]) -> None:
        calls.append([*args, *(f"{name}={value}" for name, value in params.items() if name.isalpha())])

    monkeypatch.setattr(Command, "run", run)
    return calls


def values(site: Site, host: str) -> dict[str, str]:
    (found,) = json.loads(site.done("list host attr", host, "json=yes"))
    return {row["attr"]: row["value"] for row in found["attr"]}


def machines(site: Site) -> dict[str, dict[str, Any]]:
    """The virtual machines: their first rows."""
    found = json.loads(site.done("list host vm showdisks=yes json=yes") or "[]")
    return {one["vm-host"]: one["vm"][0] for one in found}


@pytest.mark.usefixtures("started")
def test_a_cluster_that_nobody_can_log_in_to_is_named(local: Site, key: Path) -> None:
    local.done("remove attr vm_authorized_keys")
    warning = "Warning: nobody can log in: neither key= nor the attribute vm_authorized_keys has keys"
    assert warning in local.rocks("pragma boot dock6 0").err
    assert local.rocks("pragma boot dock6 0", f"key={key}").err == ""


def test_a_cluster_of_the_repository(
    local: Site, key: Path, started: list[list[str]], tmp_path: Path
) -> None:
    out = local.done("pragma boot dock6 6", f"key={key}", f"logfile={tmp_path / 'boot.log'}")
    assert out.splitlines() == [
        "Allocated cluster dock at 203.0.113.20: dock vm-dock-0 vm-dock-1",
        "Started cluster dock",
    ]
    assert "Allocated cluster dock " in (tmp_path / "boot.log").read_text()
    assert started == [["dock"]]
    found = machines(local)
    assert {name: (row["cpus"], row["mem"], row["host"]) for name, row in found.items()} == {
        "dock": (1, 2048, "head"),
        "vm-dock-0": (2, 1024, "vmc-0-0"),
        "vm-dock-1": (4, 1024, "vmc-0-1"),
    }
    own, compute = values(local, "dock"), values(local, "vm-dock-1")
    assert own["vm_image"].startswith("dock6-frontend-")
    assert compute["vm_image"].startswith("dock6-compute-")
    one, two = generation_one(own["vm_vc_out"]), generation_two(own["vm_vc_out"])
    assert one["fqdn"] == two["fqdn"] == "dock.example.org"
    assert one["public"]["ip"] == "203.0.113.20"
    assert one["public"]["gw"] == "203.0.113.1"
    assert one["dns"]["ip"] == "198.51.100.7,198.51.100.8"
    assert one["key"].splitlines() == key.read_text().splitlines()
    assert [(node["name"], node["cpus"]) for node in one["nodes"]] == [("compute-0", "2"), ("compute-1", "4")]
    assert generation_one(compute["vm_vc_out"])["private"]["fqdn"] == "compute-1"
    assert generation_one(compute["vm_vc_out"])["private"]["ip"] == one["nodes"][1]["ip"]
    assert generation_two(compute["vm_vc_out"])["compute"]["gw"] == one["private"]["ip"]


def test_further_interfaces(local: Site, started: list[list[str]]) -> None:
    local.done("add network ent 10.102.0.0 255.255.255.0 mtu=1400")
    local.done("set attr pragma_additional_interfaces ent:eth2")
    for given, text in (
        ("optical", "no network of the attribute pragma_additional_interfaces (ent)"),
        ("ent,ent", "is there twice"),
        ("ent:10.102.0.10", "give NETWORK:ADDRESS/PREFIX"),
        ("ent:10.102.0.10/16", "and the network is 10.102.0.0/24"),
        ("ent:10.102.0.254/24", "has no 3 addresses that are free"),
    ):
        assert text in local.refused(f"pragma boot dock6 6 add-iface={given}"), given
    local.done("pragma boot dock6 6 add-iface=ent:10.102.0.10/24")
    one = generation_two(values(local, "dock")["vm_vc_out"])
    assert (one["networks"]["ent"]["ip"], one["networks"]["ent"]["mtu"]) == ("10.102.0.10", "1400")
    compute = generation_two(values(local, "vm-dock-1")["vm_vc_out"])
    assert compute["networks"]["ent"]["ip"] == "10.102.0.12"
    local.done("pragma boot dock6 0 add-iface=ent")
    assert generation_two(values(local, "lake")["vm_vc_out"])["networks"]["ent"]["ip"] == "10.102.0.254"


def test_a_frontend_alone(local: Site, started: list[list[str]], tmp_path: Path) -> None:
    """Scenario 1. Without key= its keys are those of the user; a name without a domain gets that of the network."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_rsa.pub").write_text(KEY)
    local.done("set attr pragma_public_addresses 203.0.113.2,203.0.113.21=lake")
    local.done("pragma boot alone 0 mem=4G:8192M loglevel=critical")
    assert {name: row["mem"] for name, row in machines(local).items()} == {"lake": 4096}
    own = generation_one(values(local, "lake")["vm_vc_out"])
    assert (own["fqdn"], own["nodes"], own["key"]) == ("lake.example.org", [], KEY)
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name.startswith("alone-") and "Allocated cluster lake " in log.read_text()


def test_the_published_sample_has_its_disk_on_ide_and_waits(
    local: Site, started: list[list[str]], tmp_path: Path
) -> None:
    """`hda` on `ide`, packed images, computes with a disk of their own; the wait is shortened."""
    folder = tmp_path / "repository/dock6"
    (folder / "vc-in.xml").write_text(PHASE_4.replace("'300'", "'0'"))
    for name in ("frontend", "compute"):
        (folder / f"dock6-{name}.img.gz").write_bytes((folder / "frontend.img").read_bytes())
    local.done("pragma boot dock6 4")
    assert {row["disk"].rpartition(".")[2].partition(",")[2] for row in machines(local).values()} == {
        "hda,ide"
    }
    assert started == [["dock", "computes=no"], ["dock"]]


def test_a_frontend_that_does_not_answer_leaves_its_computes_off(
    local: Site, started: list[list[str]], tmp_path: Path
) -> None:
    wait = "<wait type='ssh' value='0'/>"
    text = re.sub("<wait [^>]*>", wait, PHASE_4)
    folder = tmp_path / "repository/dock6"
    (folder / "vc-in.xml").write_text(text)
    for name in ("frontend", "compute"):
        (folder / f"dock6-{name}.img.gz").write_bytes((folder / "frontend.img").read_bytes())
    ended = local.rocks("pragma boot dock6 4")
    assert ended.status == 1
    assert "the computes are not started: rocks start cluster dock" in ended.err
    assert started == [["dock", "computes=no"]]


def test_hosts_are_those_that_add_cluster_chooses(local: Site, started: list[list[str]]) -> None:
    """The attribute kvm decides, not the membership; the physical frontend comes last."""
    local.done("set host attr vmc-0-0 kvm false")
    assert "the VM containers have 4 free" in local.refused("pragma boot dock6 40")
    local.done("set host attr vmc-0-1 kvm false")
    local.done("set host cpus head 3")
    assert "the VM containers have 3 free" in local.refused("pragma boot dock6 40")
    local.done("add host compute-0-0 membership=Compute rack=0 rank=0 cpus=2")
    local.done("set host attr compute-0-0 kvm true")
    local.done("set host attr compute-0-0 vm_image_directory /state/vm")
    local.done("pragma boot dock6 1")
    assert {name: row["host"] for name, row in machines(local).items()}["vm-dock-0"] == "compute-0-0"


def test_all_machines_run_on_the_hosts_that_are_named(local: Site, started: list[list[str]]) -> None:
    """The physical frontend has the attribute kvm, too, and would get the cluster's frontend."""
    local.done("set host cpus vmc-0-0 vmc-0-1 4")
    local.done("pragma boot dock6 5 hosts=vmc-0-0,vmc-0-1")
    found = {name: (row["cpus"], row["host"]) for name, row in machines(local).items()}
    assert found == {"dock": (1, "vmc-0-0"), "vm-dock-0": (1, "vmc-0-0"), "vm-dock-1": (4, "vmc-0-1")}
    local.done("pragma boot dock6 0 hosts=vmc-0-1")
    assert machines(local)["lake"]["host"] == "vmc-0-1"


@pytest.mark.slow
def test_a_site_of_ten_hosts_with_sixteen_cpus_is_filled_to_the_last_one(
    local: Site, started: list[list[str]]
) -> None:
    """The size of Fiji's testbed, by four clusters; one CPU more is refused."""
    local.done("set host attr vmc-0-0 vmc-0-1 kvm false")
    local.done("set attr vm_image_directory /images")
    hosts = [f"vmc-1-{number}" for number in range(10)]
    for host in hosts:
        local.done("add host", host, "membership=VM Container", "cpus=16", "rack=1", f"rank={host[6:]}")
    local.done("set attr pragma_public_addresses", " ".join(f"203.0.113.2{n}=vc{n}" for n in range(5)))
    for cpus in (48, 37, 53, 22):
        local.done(f"pragma boot dock6 {cpus}")
    assert "1 CPUs are not free: the VM containers have 0 free" in local.refused("pragma boot dock6 1")
    taken = dict.fromkeys(hosts, 0)
    for row in machines(local).values():
        if row["host"] in taken:
            taken[row["host"]] += row["cpus"]
    assert taken == dict.fromkeys(hosts, 16)


def test_what_cannot_be_booted_leaves_nothing(
    local: Site, key: Path, started: list[list[str]], tmp_path: Path
) -> None:
    private = tmp_path / "id"
    private.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    endless = tmp_path / "endless.pub"
    endless.touch()
    os.truncate(endless, 1 << 42)
    os.mkfifo(tmp_path / "pipe.pub")  # nobody writes to it
    folder = tmp_path / "repository/dock6"
    for arguments, text in (
        (("dock6",), "and the number of CPUs"),
        (("dock6", "-1"), "cpus must be 0 to 100000, not -1"),
        (("dock6", "1000000000"), "cpus must be"),
        (("dock6", "0000000009999999999"), "cpus must be"),
        (("dock6", f"{5000 * '0'}40"), "40 CPUs are not free"),
        (("dock6", "40"), "40 CPUs are not free: the VM containers have 8"),
        (("dock6", "5", "hosts=vmc-0-0"), "the VM containers have 4 free"),
        (("dock6", "1", "hosts=vmc-0-0,absent,vmc-9"), "the site has no host absent, vmc-9"),
        (("absent", "1"), "the repository has no cluster absent"),
        (("../dock6", "1"), "the repository has no cluster"),
        (("\x1b[31mred", "1"), "the repository has no cluster"),
        (("alone", "1"), "alone is a frontend alone; give 0 CPUs"),
        (("dock6", "4", "mem=1:2:3"), "mem must be"),
        (("dock6", "4", "mem=lots"), "mem must be"),
        (("dock6", "4", "mem=00000000004099999999"), "mem must be"),
        (("dock6", "4", f"key={private}"), "private key"),
        (("dock6", "4", f"key={tmp_path}"), "cannot be read: Is a directory; give another key=FILE"),
        (("dock6", "4", f"key={endless}"), "endless.pub are longer than 32768 bytes"),
        (("dock6", "4", f"key={tmp_path}/pipe.pub"), "pipe.pub is not a plain file"),
        (("dock6", "40", f"key={tmp_path}/absent.pub"), "absent.pub cannot be read"),
        (("dock6", "4", "logfile=a\0b.log"), "logfile must be a path"),
        (
            ("dock6", "4", "loglevel=loud"),
            "loglevel must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not 'loud'",
        ),
        (("dock6", "4", "enable-ipop-client=/x"), "enable-ipop-client: IPOP is not supported"),
        (("dock6", "4", "enable-ipop-server=http://x"), "enable-ipop-server: IPOP is not supported"),
        (("dock6", "4", "logfile=/dev/null/x.log"), "/dev/null is a device; give another path"),
    ):
        assert text in local.refused("pragma boot", *arguments), arguments
    for document_text, text in (
        (TALK_VOLUMES, "pool='pragma'"),
        (document(domain(file_disk("absent.img"))), "cannot be read"),
        (DOCK6.replace("x86_64", "ppc64"), "arch=ppc64"),
        (DOCK6.replace("'vda'", "'vda,x'"), "vc-in.xml has a disk that this site does not take: "),
        (DOCK6.replace("'virtio'", "'fdc'"), "the bus must be one of virtio, ide"),
        (DOCK6.replace("1048576", "9" * 15), "vc-in.xml: compute has 976562500000 MB of memory; give 32"),
    ):
        (folder / "vc-in.xml").write_text(document_text)
        is_described = "absent" in document_text
        ended = local.rocks("pragma boot dock6", "0" if is_described else "4")
        assert text in ended.err and ended.status == (1 if is_described else 2), ended
    assert {path.name.partition("-")[0] for path in (tmp_path / "logs").iterdir()} == {
        "absent",
        "alone",
        "dock6",
    }
    assert started == []
    assert machines(local) == {}


def test_no_address_no_vlan_and_no_name_are_three_errors(local: Site, started: list[list[str]]) -> None:
    """Scenario 5."""
    local.done("set attr pragma_public_addresses 203.0.113.2")
    assert "no public address is free" in local.refused("pragma boot dock6 4")
    local.done("set attr pragma_public_addresses 203.0.113.22")
    assert "has no name: the name service has no reverse entry" in local.refused("pragma boot dock6 4")
    local.done("set attr pragma_public_addresses '203.0.113.22=Vmc-0-0 203.0.113.23=lake'")
    assert "there is a host Vmc-0-0 already" in local.refused("pragma boot dock6 4")
    local.set_as_before("pragma_public_addresses", "203.0.113.x")
    assert "is no address" in local.refused("pragma boot dock6 4")
    local.done("set attr pragma_public_addresses '203.0.113.22=lake 203.0.113.23=pond'")
    local.done("set attr vm_vlan_pool 22")
    local.done("pragma boot dock6 4")
    assert "could not find a free Vlan ID" in local.refused("pragma boot dock6 4")
    assert sorted(machines(local)) == ["lake", "vm-lake-0"]


@pytest.mark.slow
def test_boots_at_once_get_the_addresses_that_are_free(
    local: Site, key: Path, processes: dict[str, str], tmp_path: Path
) -> None:
    """Three for two addresses, as processes; their starts fail, for no host answers."""
    local.done("pragma sync repository")
    environment = {**processes, "ROCKS_TREES": str(TREE), "HOME": str(tmp_path)}
    boots = [start(environment, "pragma", "boot", "alone", "0", f"key={key}") for _ in range(3)]
    ended = [boot.communicate(timeout=120) for boot in boots]
    assert sorted(out.partition(" at ")[0] for out, _ in ended) == [
        "",
        "Allocated cluster dock",
        "Allocated cluster lake",
    ], ended
    (refusal,) = [error for out, error in ended if not out]
    assert "no public address is free" in refusal, refusal
    assert sorted(machines(local)) == ["dock", "lake"]


@pytest.mark.slow
def test_boots_at_once_of_a_new_image_add_it_once(
    local: Site, key: Path, processes: dict[str, str], tmp_path: Path
) -> None:
    """It has no cloud-init, so that it is prepared; the second boot waits for that. No host answers."""
    disk(tmp_path / "repository/alone/only.img", SYSTEMD, partition_table(0x83))
    environment = {**processes, "ROCKS_TREES": str(TREE), "HOME": str(tmp_path)}
    boots = [start(environment, "pragma", "boot", "alone", "0", f"key={key}") for _ in range(2)]
    ended = [boot.communicate(timeout=120) for boot in boots]
    assert sorted(out.partition(" at ")[0] for out, _ in ended) == [
        "Allocated cluster dock",
        "Allocated cluster lake",
    ], ended
    (image,) = json.loads(local.done("list image json=yes"))
    assert image["image"][0]["comment"].endswith("without cloud-init")


def test_vlans_of_the_old_file_22_to_24_are_two_clusters(
    local: Site, started: list[list[str]], tmp_path: Path
) -> None:
    """Scenario 6; a file with a fault sets nothing."""
    good, bad = tmp_path / "kvm_rocks.conf", tmp_path / "site_conf.conf"
    good.write_text("vlans = range(22, 24)\nnetmask = '255.255.255.0'\nnum_processors_reserved = 1\n")
    bad.write_text("log_directory = __import__('os').getcwd()\n")
    assert "line 1 of" in local.refused("pragma load settings", str(good), str(bad))
    assert "cannot be read: No such file" in local.refused("pragma load settings /absent")
    os.mkfifo(tmp_path / "pipe.conf")  # nobody writes to it
    assert "is not a plain file" in local.refused("pragma load settings", str(tmp_path / "pipe.conf"))
    assert "would" in local.done("pragma load settings", str(good), "dry-run=yes")
    printed = local.done("pragma load settings", str(good))
    assert "vm_vlan_pool: 22,23\n" in printed
    assert "netmask is not loaded: the network public has it" in printed
    local.done("set attr pragma_public_addresses '203.0.113.22=a 203.0.113.23=b 203.0.113.24=c'")
    for _ in range(2):
        local.done("pragma boot dock6 1")
    assert "could not find a free Vlan ID" in local.refused("pragma boot dock6 1")
    assert sorted(machines(local)) == ["a", "b", "vm-a-0", "vm-b-0"]


def test_a_users_iso_and_the_disk_for_cloud_init_are_both_there(
    local: Site, started: list[list[str]]
) -> None:
    """Scenario 11, of what a machine has; `guests/test_pragma_preparation.py` starts a real image."""
    local.done("pragma boot dock6 4")
    assert local.rocks("set host vm cdrom vm-dock-0 /isos/mine.iso").status == 0
    config = local.rocks("report host vm config vm-dock-0").out
    disks = re.findall(r"<disk type='file' device='(\w+)'>.*?<source file='([^']*)'", config, re.DOTALL)
    ends = [(device, path.rpartition("/")[2]) for device, path in disks]
    assert ends == [("disk", "vm-dock-0.vda"), ("cdrom", "mine.iso"), ("disk", "vm-dock-0.vda.seed")], config


def test_a_dry_run_allocates_nothing(local: Site, started: list[list[str]], tmp_path: Path) -> None:
    assert "a dry run adds none" in local.refused("pragma boot dock6 4 dry-run=yes")
    assert "9999 CPUs are not free" in local.refused("pragma boot dock6 9999 dry-run=yes")
    local.done("pragma sync repository")
    before = local.contents()
    ended = local.rocks("pragma boot dock6 4 dry-run=yes")
    assert (ended.status, ended.err) == (0, "")
    assert "would" in ended.out
    assert local.contents() == before
    assert not (tmp_path / "logs").exists()
    local.done(
        "pragma boot dock6 4"
    )  # its machines are a cluster that another command might boot at this moment
    assert "9999 CPUs are not free" in local.refused("pragma boot dock6 9999 dry-run=yes")


def test_a_dry_run_does_not_wait_for_images_that_another_command_adds(
    local: Site, cluster_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry, "_LONGEST_WAIT_SECONDS", 0.1)
    with closing(Database(cluster_database)) as adding:
        adding.lock("pragma images dock6", 0)
        refused = local.refused("pragma boot dock6 0 dry-run=yes")
    assert "another command is at work on pragma images dock6 (waited 0.1 s)" in refused
    assert f"(process {os.getpid()}: " in refused


def test_a_cluster_whose_start_fails_is_there_and_is_removed_by_clean(local: Site, tmp_path: Path) -> None:
    """No host answers: the log has what was allocated, and why the start failed."""
    ended = local.rocks("pragma boot dock6 4 wait=yes", f"logfile={tmp_path / 'boot.log'}")
    assert ended.status != 0
    assert ended.out.startswith("Allocated cluster dock ")
    assert "Error" in ended.err
    assert sorted(machines(local)) == ["dock", "vm-dock-0"]
    listed = local.rocks("pragma list cluster").out
    assert "203.0.113.20" in listed
    assert "PUBLIC IP" in listed
    assert "not removed" in local.refused("pragma clean dock")
