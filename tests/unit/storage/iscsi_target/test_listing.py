"""LIO's configuration is read whole, half-made parts included."""

from pathlib import Path

from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import (
    Acl,
    Backstore,
    Lun,
    MappedLun,
    Portal,
    backstore_of_lun_0,
    describe,
)
from rocks.storage.iscsi_target.listing import (
    parse_chap,
    parse_session,
    read_backstores,
    read_config,
    read_configs,
)

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
    backstore = root / "core/iblock_0/rocks-vm1-vol.3"
    write(backstore / "udev_path", "/dev/zvol/tank/vm1-vol@base\n")
    write(backstore / "info", INFORMATION)
    write(backstore / "enable", "1\n")
    write(backstore / "wwn/vpd_unit_serial", "T10 VPD Unit Serial Number: 0123456789abcdef\n")
    return backstore


def make_target(root: Path, backstore: Path) -> Path:
    group = root / "iscsi" / TARGET / "tpgt_1"
    write(group / "enable", "1\n")
    write(group / "attrib/authentication", "1\n")
    (group / "np/10.9.0.10:3260").mkdir(parents=True)
    lun = group / "lun/lun_0"
    lun.mkdir(parents=True)
    (lun / "0a1b2c3d4e").symlink_to(backstore)
    acl = group / "acls" / HOST
    write(acl / "info", "No active iSCSI Session for Initiator Endpoint: " + HOST + "\n")
    for name in ("userid", "password", "userid_mutual", "password_mutual"):
        write(acl / "auth" / name, f"the-{name}\n")
    write(acl / "lun_0/write_protect", "1\n")
    (acl / "lun_0/5f6a7b8c9d").symlink_to(lun)
    return group


def test_a_whole_export(tmp_path: Path) -> None:
    """Store, LUN, access list with its secrets, portal."""
    group = make_target(tmp_path, make_store(tmp_path))
    (backstore,) = read_backstores(tmp_path)
    assert backstore == Backstore(
        "rocks-vm1-vol.3", "/dev/zvol/tank/vm1-vol@base", True, "0123456789abcdef", True, (TARGET,)
    )
    config = read_config(TARGET, tmp_path)
    assert (config.groups, config.is_enabled) == ((1,), True)
    assert dict(config.attributes)["authentication"] == "1"
    assert config.luns == (Lun(0, "rocks-vm1-vol.3"),)
    chap = ChapSecrets("the-userid", "the-password", "the-userid_mutual", "the-password_mutual")
    assert config.acls == (Acl(HOST, chap, (MappedLun(0, 0, True),), False),)
    assert config.portals == (Portal("10.9.0.10", 3260),)
    assert describe(config, backstore_of_lun_0(config, (backstore,))).is_complete
    (group / "enable").write_text("0\n")
    (closed,) = read_configs("iqn.2001-04.com.nas:", tmp_path)
    assert not describe(closed, backstore).is_complete


def test_half_made_things(tmp_path: Path) -> None:
    """Folders without the links that would fill them, a store that is not configured, a target without a group."""
    (tmp_path / "core/iblock_0/rocks-vm1-vol.3").mkdir(parents=True)
    group = tmp_path / "iscsi" / TARGET / "tpgt_1"
    (group / "lun/lun_0").mkdir(parents=True)
    (group / "acls" / HOST / "lun_0").mkdir(parents=True)
    (tmp_path / "iscsi/iqn.2001-04.com.nas:vm2-vol.1").mkdir()
    assert read_backstores(tmp_path) == (Backstore("rocks-vm1-vol.3", "", False, "", False, ()),)
    first, second = read_configs("iqn.2001-04.com.nas:", tmp_path)
    assert first.luns == (Lun(0, None),)
    assert first.acls == (Acl(HOST, None, (MappedLun(0, None, False),), False),)
    assert (second.groups, second.luns, second.is_enabled) == ((), (), False)
    assert not describe(first, None).is_complete and not describe(second, None).is_complete


def test_what_others_have(tmp_path: Path) -> None:
    """A foreign file is distinguished from a block device of the same name, and other fabrics count as users."""
    backstore = make_store(tmp_path)
    file = tmp_path / "core/fileio_1/rocks-vm1-vol.3"
    file.mkdir(parents=True)
    theirs = tmp_path / "iscsi/iqn.2024-01.org.example:theirs/tpgt_1/lun/lun_0"
    theirs.mkdir(parents=True)
    (theirs / "link").symlink_to(file)
    loop = tmp_path / "loopback/naa.5001405000000000/tpgt_1/lun/lun_0"
    loop.mkdir(parents=True)
    (loop / "link").symlink_to(backstore)
    assert read_backstores(tmp_path)[0].targets == ("naa.5001405000000000",)
    assert read_configs("iqn.2001-04.com.nas:", tmp_path) == ()
    config = read_config("iqn.2024-01.org.example:theirs", tmp_path)
    assert config is not None and config.luns == (Lun(0, "fileio_1/rocks-vm1-vol.3"),)


def test_nothing_at_all(tmp_path: Path) -> None:
    """A kernel that has not loaded LIO."""
    assert read_backstores(tmp_path) == () and read_configs("iqn.", tmp_path) == ()
    assert read_config(TARGET, tmp_path) is None


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
