"""LIO's configuration is read whole, half-made parts included."""

from __future__ import annotations

from pathlib import Path

from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.devices.iscsi_target.listing import parse_chap, parse_session, read_stores, read_tree, read_trees
from rocks.devices.iscsi_target.tree import Acl, Mapped, Portal, Store, Unit, describe, store_of_unit_0

TARGET = "iqn.2001-04.com.nas:vm1-vol.3"
HOST = "iqn.2024-01.org.rocks.lab:vmh1"
INFORMATION = """Status: ACTIVATED  Max Queue Depth: 128  SectorSize: 512  HwMaxSectors: 2048
        iBlock device: zd0  UDEV PATH: /dev/zvol/tank/vm1-vol@base  readonly: 1
        Major: 230 Minor: 0  CLAIMED: IBLOCK
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_store(root: Path) -> Path:
    store = root / "core/iblock_0/rocks-vm1-vol.3"
    write(store / "udev_path", "/dev/zvol/tank/vm1-vol@base\n")
    write(store / "info", INFORMATION)
    write(store / "enable", "1\n")
    write(store / "wwn/vpd_unit_serial", "T10 VPD Unit Serial Number: 0123456789abcdef\n")
    return store


def make_target(root: Path, store: Path) -> Path:
    group = root / "iscsi" / TARGET / "tpgt_1"
    write(group / "enable", "1\n")
    write(group / "attrib/authentication", "1\n")
    (group / "np/10.9.0.10:3260").mkdir(parents=True)
    unit = group / "lun/lun_0"
    unit.mkdir(parents=True)
    (unit / "0a1b2c3d4e").symlink_to(store)
    acl = group / "acls" / HOST
    write(acl / "info", "No active iSCSI Session for Initiator Endpoint: " + HOST + "\n")
    for name in ("userid", "password", "userid_mutual", "password_mutual"):
        write(acl / "auth" / name, f"the-{name}\n")
    write(acl / "lun_0/write_protect", "1\n")
    (acl / "lun_0/5f6a7b8c9d").symlink_to(unit)
    return group


def test_a_whole_export(tmp_path: Path) -> None:
    """Store, LUN, access list with its secrets, portal."""
    group = make_target(tmp_path, make_store(tmp_path))
    (store,) = read_stores(tmp_path)
    assert store == Store(
        "rocks-vm1-vol.3", "/dev/zvol/tank/vm1-vol@base", True, "0123456789abcdef", True, (TARGET,)
    )
    tree = read_tree(TARGET, tmp_path)
    assert tree is not None
    assert (tree.groups, tree.is_enabled) == ((1,), True)
    assert dict(tree.attributes)["authentication"] == "1"
    assert tree.units == (Unit(0, "rocks-vm1-vol.3"),)
    chap = ChapSecrets("the-userid", "the-password", "the-userid_mutual", "the-password_mutual")
    assert tree.acls == (Acl(HOST, chap, (Mapped(0, 0, True),), False),)
    assert tree.portals == (Portal("10.9.0.10", 3260),)
    assert describe(tree, store_of_unit_0(tree, (store,))).is_complete
    (group / "enable").write_text("0\n")
    (closed,) = read_trees("iqn.2001-04.com.nas:", tmp_path)
    assert not describe(closed, store).is_complete


def test_half_made_things(tmp_path: Path) -> None:
    """Folders without the links that would fill them, a store that is not configured, a target without a group."""
    (tmp_path / "core/iblock_0/rocks-vm1-vol.3").mkdir(parents=True)
    group = tmp_path / "iscsi" / TARGET / "tpgt_1"
    (group / "lun/lun_0").mkdir(parents=True)
    (group / "acls" / HOST / "lun_0").mkdir(parents=True)
    (tmp_path / "iscsi/iqn.2001-04.com.nas:vm2-vol.1").mkdir()
    assert read_stores(tmp_path) == (Store("rocks-vm1-vol.3", "", False, "", False, ()),)
    first, second = read_trees("iqn.2001-04.com.nas:", tmp_path)
    assert first.units == (Unit(0, None),)
    assert first.acls == (Acl(HOST, None, (Mapped(0, None, False),), False),)
    assert (second.groups, second.units, second.is_enabled) == ((), (), False)
    assert not describe(first, None).is_complete and not describe(second, None).is_complete


def test_what_others_have(tmp_path: Path) -> None:
    """A file of theirs is told from a block device of the same name, and other fabrics count as users."""
    store = make_store(tmp_path)
    file = tmp_path / "core/fileio_1/rocks-vm1-vol.3"
    file.mkdir(parents=True)
    theirs = tmp_path / "iscsi/iqn.2024-01.org.example:theirs/tpgt_1/lun/lun_0"
    theirs.mkdir(parents=True)
    (theirs / "link").symlink_to(file)
    loop = tmp_path / "loopback/naa.5001405000000000/tpgt_1/lun/lun_0"
    loop.mkdir(parents=True)
    (loop / "link").symlink_to(store)
    assert read_stores(tmp_path)[0].targets == ("naa.5001405000000000",)
    assert read_trees("iqn.2001-04.com.nas:", tmp_path) == ()
    tree = read_tree("iqn.2024-01.org.example:theirs", tmp_path)
    assert tree is not None and tree.units == (Unit(0, "fileio_1/rocks-vm1-vol.3"),)


def test_nothing_at_all(tmp_path: Path) -> None:
    """A kernel that has not loaded LIO."""
    assert read_stores(tmp_path) == () and read_trees("iqn.", tmp_path) == ()
    assert read_tree(TARGET, tmp_path) is None


def test_secrets_that_are_not_set() -> None:
    """The kernel writes NULL, or nothing."""
    assert (
        parse_chap({"userid": "NULL", "password": "NULL", "userid_mutual": "", "authenticate_target": "0"})
        is None
    )
    assert parse_chap({"userid": "u", "password": "p"}) == ChapSecrets("u", "p", "", "")


def test_sessions() -> None:
    """By the first words of the entry's information."""
    assert not parse_session("")
    assert not parse_session("No active iSCSI Session for Initiator Endpoint: x")
    assert parse_session("InitiatorName: x\nLIO Session ID: 1")
