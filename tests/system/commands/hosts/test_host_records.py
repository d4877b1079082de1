"""Records of hosts: comments, boot flags, next boots, boot actions, keys, rolls, partitions; and distributions."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rocks.fleet.fleet import CommandResult
from rocks.inventory.disks import partitions as disk_partitions
from rocks.inventory.disks.partition_rules import DiskPartition
from rocks.inventory.disks.partitions import list_disk_partitions
from tests.system.commands.conftest import Site

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDV7mVuaE1MyyQ5O0S3k3BkSmz9zbBXVhEcLK0fVnFZ7 owner"


def test_the_licence_needs_no_database(site: Site) -> None:
    site.patch.setenv("ROCKS_DATABASE_SOCKET", "/nowhere")
    assert "Apache-2.0" in site.done("list license")


def test_a_comment_is_an_attribute_of_the_host(pair: Site) -> None:
    pair.done("set host comment compute-0-0", "memory = replaced; 'ok'")
    assert pair.done("report host attr compute-0-0 attr=comment") == "memory = replaced; 'ok'\n"
    assert "not a printable" in pair.refused("set host comment compute-0-0", "two\nlines")
    pair.done("set host comment % NULL")
    assert "does not exist" in pair.refused("report host attr compute-0-0 attr=comment")


def test_a_key_is_listed_line_by_line(pair: Site) -> None:
    pair.done("add host key fe", f"key={ED25519}", "description=of the owner")
    listed = pair.done("list host key fe").splitlines()
    assert listed[0] == "HOST ID DESCRIPTION  PUBLIC KEY                                                  "
    assert listed[1].startswith("fe:  ") and "of the owner -----BEGIN PUBLIC KEY-----" in listed[1]
    assert (
        listed[2].startswith(":   ")
        and "MCowBQYDK2VwAyEANXuZW5oTUzLJDk7RLeTcGRKbP3NsFdWERwsrR9WcVns=" in listed[2]
    )
    assert listed[-1].startswith(":   ") and set(listed[-1].split()[-1]) == {"-"}
    assert "the public key already exists for host fe" in pair.refused("add host key fe", f"key={ED25519}")
    (number,) = pair.database.rows("SELECT ID FROM public_keys")[0]
    assert f"id {number + 1} doesn't exist for host fe" in pair.refused(
        "remove host key fe", f"id={number + 1}"
    )
    assert "doesn't exist for host compute-0-0" in pair.refused("remove host key compute-0-0", f"id={number}")
    pair.done("remove host key fe", f"id={number}")
    assert pair.done("list host key") == ""


def test_what_is_no_public_key_is_refused(pair: Site) -> None:
    for given, error in [
        ("", "must supply a public key"),
        ("/nowhere/key", "there is no file /nowhere/key"),
        ("ssh-rsa AAAA", "not a public key"),
        ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "this is a private key"),
        ("/", "there is no file /"),
    ]:
        assert error in pair.refused("add host key fe", f"key={given}"), given


@pytest.mark.parametrize(("bits", "warning"), [(2048, "2048 bits, less than 3072"), (3072, "")])
def test_an_rsa_key_that_is_short_is_added_with_a_warning(
    pair: Site, tmp_path: Path, bits: int, warning: str
) -> None:
    pem = rsa.generate_private_key(65537, bits).public_key()
    file = tmp_path / "key.pub"
    file.write_bytes(pem.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    added = pair.rocks("add host key fe", f"key={file}")
    assert (added.status, added.out) == (0, "")
    assert warning in added.err and bool(added.err) == bool(warning)
    assert pair.database.rows("SELECT COUNT(*) FROM public_keys") == [(1,)]


def test_rolls_are_chosen_for_frontends(pair: Site) -> None:
    pair.change(
        "INSERT INTO rolls (Name, Version, Arch) VALUES ('base', '7.0', 'x86_64'), ('kvm', '7.0', 'x86_64'),"
        " ('kvm', '6.2', 'x86_64')"
    )
    pair.done("add host roll fe kvm base version=7.0")
    assert pair.done("list host roll") == (
        "HOST NAME VERSION ARCH   OS   \nfe:  base 7.0     x86_64 linux\nfe:  kvm  7.0     x86_64 linux\n"
    )
    pair.done("set host roll fe kvm version=6.2")
    assert pair.done("list host roll output-header=no") == "fe:  kvm  6.2     x86_64 linux\n"
    assert '<roll name="kvm" version="6.2" arch="x86_64"/>' in pair.done("report host roll fe")
    assert 'unknown roll "other"' in pair.refused("set host roll fe other")
    assert "is not a frontend" in pair.refused("add host roll compute-0-0 kvm")
    pair.done("remove host roll fe kvm")
    assert pair.done("list host roll") == ""


def test_partitions_are_added_listed_and_removed(pair: Site) -> None:
    pair.done("add host partition compute-0-0 device=sda1 mountpoint=/ size=20480MB type=ext4")
    pair.done("add host partition compute-0-0 device=sda5 mountpoint=/state/partition1 size=100GB")
    assert pair.done("list host partition") == (
        "DEVICE MOUNTPOINT        START SIZE    ID TYPE FLAGS FORMATFLAGS\n"
        "sda1   /                 ----- 20480MB -- ext4 ----- -----------\n"
        "sda5   /state/partition1 ----- 100GB   -- ---- ----- -----------\n"
    )
    assert pair.done("list host partition bigmnt=yes") == "/state/partition1\n"
    assert "has this partition" in pair.refused(
        "add host partition compute-0-0 device=sda5 mountpoint=/state/partition1 size=100GB"
    )
    assert "must supply device or mountpoint" in pair.refused("add host partition fe size=1GB")
    pair.done("remove host partition compute-0-0 partition=/")
    assert "no such partition" in pair.refused("remove host partition compute-0-0 device=sdz")
    pair.done("remove host partition %")
    assert pair.done("list host partition") == ""


def test_partitions_of_many_hosts_are_read_once_for_their_largest(pair: Site) -> None:
    """Of 10,000 hosts the list has tens of thousands of rows."""
    passes = 0

    class Counted(list[tuple[str, DiskPartition]]):
        def __iter__(self) -> Iterator[tuple[str, DiskPartition]]:
            nonlocal passes
            passes += 1
            return super().__iter__()

    for host in ("fe", "compute-0-0"):
        for number in range(2):
            pair.done(
                f"add host partition {host} device=sda{number} mountpoint=/{host}{number} size={number}GB"
            )
    pair.patch.setattr(
        "rocks.commands.list.host.partition.list_disk_partitions",
        lambda *given: Counted(list_disk_partitions(*given)),
    )
    listed = pair.done("list host partition bigmnt=yes").splitlines()
    assert [line.split() for line in listed] == [["fe:", "/fe1"], ["compute-0-0:", "/compute-0-01"]]
    assert passes == 1


def test_partitions_are_what_this_machine_reports(pair: Site) -> None:
    """lsblk of this machine; a host that does not answer keeps what it has."""
    pair.done("add host partition compute-0-0 device=old mountpoint=/old")
    pair.done("set attr Kickstart_PrivateHostname fe")
    assert pair.rocks("save host partitions").status == 0
    document = json.dumps(
        {"blockdevices": [{"kname": "/dev/sda", "type": "disk", "mountpoint": None, "size": "2097152", "children": [
            {"kname": "/dev/sda1", "type": "part", "mountpoint": "/data", "size": 1048576, "fstype": "ext4",
             "parttype": "0x83", "partflags": "0x80"}]}]}
    )  # fmt: skip
    results = [
        CommandResult("fe", 0, f"{document}\nsectors\n/sys/class/block/sda1/start:2048\n", "", "done", ""),
        CommandResult("compute-0-0", 0, "", "", "down", "no route to host"),
    ]
    pair.patch.setattr(disk_partitions, "run_on_hosts", lambda *_: results)
    ended = pair.rocks("save host partitions fe compute-0-0")
    assert (ended.status, ended.out) == (3, "") and "no route to host" in ended.err
    assert (
        pair.done("list host partition fe output-header=no")
        == "sda1   /data      2048  1MB  83 ext4 0x80  -----------\n"
    )
    assert "/old" in pair.done("list host partition compute-0-0")


def test_an_interface_is_disabled_for_guests(pair: Site) -> None:
    pair.done("add host interface compute-0-0 eth0")
    pair.done("add host interface compute-0-0 eth1")
    pair.done("set host interface disablekvm compute-0-0 eth1 yes")
    assert pair.done("list host interface disablekvm compute-0-0") == (
        "INTERFACE DISABLEKVM\neth0      False     \neth1      True      \n"
    )
    assert "must supply iface" in pair.refused("set host interface disablekvm disablekvm=yes")
    assert "must be yes or no" in pair.refused("set host interface disablekvm compute-0-0 eth1 perhaps")


def test_a_command_is_run_for_each_host(pair: Site, tmp_path: Path) -> None:
    pair.done("set attr Kickstart_PrivateHostname fe")
    pair.done("add host compute-0-1")
    log = tmp_path / "log"
    pair.done("iterate host", f"echo '%' 100%% >>{log}")
    assert log.read_text() == "compute-0-0 100%\ncompute-0-1 100%\n"
    ended = pair.rocks("iterate host fe compute-0-0 '[ % = fe ]'")
    assert (ended.status, ended.err) == (3, "compute-0-0: exit status 1\n")
    assert pair.rocks("iterate host % false").status == 1
    assert "must supply a command" in pair.refused("iterate host compute-0-0")


def test_old_values_are_listed_and_removed(pair: Site) -> None:
    pair.done("set attr Kickstart_PrivateHostname fe")
    pair.done("add attr colour red")
    pair.done("set attr colour blue")
    assert pair.done("run reconfigure showattr=yes") == "ATTR    OLD VALUE VALUE\ncolour: red       blue \n"
    pair.done("run reconfigure clear=1")
    assert pair.done("run reconfigure showattr=yes") == ""
    assert pair.done("report host attr fe attr=colour") == "blue\n"
