"""LIO's configuration is read whole, half-made parts included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, UserError
from rocks.storage.iscsi.names import ChapSecrets
from rocks.storage.iscsi.target import (
    Acl,
    Backstore,
    ExportSpec,
    Lun,
    MappedLun,
    Portal,
    TargetConfig,
    attributes_of,
    backstore_of_lun_0,
    check_export,
    check_no_conflict,
    describe,
    expected_acl,
    missing_parts,
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


# What an export lacks is seen part by part, and what belongs to another is refused.


PREFIX = "iqn.2001-04.com.nas:"
CHAP = ChapSecrets("vm1", "a-secret-of-the-host", "nas", "a-secret-of-the-nas")
SPEC = ExportSpec(
    target=PREFIX + "vm1-vol.3",
    device_path="/dev/zvol/tank/vm1-vol@base",
    read_only=True,
    initiator="iqn.2024-01.org.rocks.lab:vmh1",
    chap=CHAP,
    portal_address="10.9.0.10",
    portal_port=3260,
    unit_serial="0123456789abcdef",
)
BACKSTORE = Backstore("rocks-vm1-vol.3", SPEC.device_path, True, SPEC.unit_serial, True, (SPEC.target,))
CONFIG = TargetConfig(
    target=SPEC.target,
    groups=(1,),
    is_enabled=True,
    attributes=tuple(attributes_of(SPEC).items()),
    luns=(Lun(0, BACKSTORE.name),),
    acls=(expected_acl(SPEC)._replace(has_session=True),),
    portals=(Portal("10.9.0.10", 3260),),
)
OTHER = Acl("iqn.2024-01.org.rocks.lab:vmh2", None, (), False)


def test_a_complete_export_lacks_nothing() -> None:
    """Whether somebody is logged in or not."""
    assert missing_parts(SPEC, CONFIG, (BACKSTORE,)) == []
    check_no_conflict(SPEC, CONFIG, (BACKSTORE,))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"groups": ()}, "target"),
        ({"is_enabled": False}, "enabled"),
        ({"attributes": (("generate_node_acls", "1"),)}, "attributes"),
        ({"luns": ()}, "LUN"),
        ({"luns": (Lun(0, None),)}, "LUN"),
        ({"luns": (Lun(0, BACKSTORE.name), Lun(1, "x"))}, "LUN"),
        ({"acls": ()}, "access list"),
        ({"acls": (*CONFIG.acls, OTHER)}, "access list"),
        ({"acls": (CONFIG.acls[0]._replace(chap=None),)}, "access list"),
        ({"acls": (CONFIG.acls[0]._replace(mapped=()),)}, "access list"),
        ({"portals": ()}, "portal"),
        ({"portals": (*CONFIG.portals, Portal("0.0.0.0", 3260))}, "portal"),
    ],
)
def test_each_part_is_missed(changes: dict[str, Any], part: str) -> None:
    """One at a time."""
    assert missing_parts(SPEC, CONFIG._replace(**changes), (BACKSTORE,)) == [part]


def test_a_store_that_is_half_made_is_missed() -> None:
    """Made but not configured, or without its serial, and that is nobody else's."""
    for backstore in (
        BACKSTORE._replace(is_enabled=False, device_path=""),
        BACKSTORE._replace(unit_serial=""),
    ):
        check_no_conflict(SPEC, CONFIG, (backstore,))
        assert missing_parts(SPEC, CONFIG, (backstore,)) == ["backstore"]
    assert missing_parts(SPEC, None, ()) == ["target"]


@pytest.mark.parametrize(
    ("config", "backstore", "message"),
    [
        (CONFIG._replace(groups=(1, 2)), BACKSTORE, "portal groups of another origin"),
        (CONFIG._replace(luns=(Lun(0, "theirs"),)), BACKSTORE, "LUN 0 of .* is the backstore theirs"),
        (CONFIG._replace(acls=(OTHER._replace(has_session=True),)), BACKSTORE, "vmh2 is logged in to"),
        (CONFIG, BACKSTORE._replace(read_only=False), "writable with serial .*, not .* read-only"),
        (CONFIG, BACKSTORE._replace(unit_serial="another1"), "with serial another1, not"),
        (CONFIG, BACKSTORE._replace(targets=("iqn.x", SPEC.target)), "serves iqn.x, not"),
    ],
)
def test_what_is_another_s_is_refused(config: TargetConfig, backstore: Backstore, message: str) -> None:
    """Before anything is changed."""
    with pytest.raises(IncoherentError, match=message):
        check_no_conflict(SPEC, config, (backstore,))


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "iqn.2001-04.com.other:vm1-vol.3"},
        {"target": "iqn.2001-04.com.nas:"},
        {"initiator": "vmh1"},
        {"unit_serial": "x"},
        {"unit_serial": "0123456789abcdef\n"},
        {"device_path": "/root/disk.img"},
        {"device_path": "/dev/zvol/tank/vm1,readonly=0"},
    ],
)
def test_what_cannot_be_exported(changes: dict[str, Any]) -> None:
    """LIO separates its settings by commas."""
    check_export(SPEC, PREFIX)
    with pytest.raises(UserError):
        check_export(replace(SPEC, **changes), PREFIX)
