"""What an export lacks is seen part by part, and what belongs to another is refused."""

from dataclasses import replace
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, UserError
from rocks.storage.iscsi_target.chap import ChapSecrets
from rocks.storage.iscsi_target.configuration import Acl, Backstore, Lun, Portal, TargetConfig
from rocks.storage.iscsi_target.exports import ExportSpec
from rocks.storage.iscsi_target.rules import (
    attributes_of,
    check_export,
    check_no_conflict,
    expected_acl,
    missing_parts,
)

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
