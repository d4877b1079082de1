"""What an export lacks is seen part by part, and what belongs to another is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rocks.devices.iscsi_target.chap import ChapSecrets
from rocks.devices.iscsi_target.driver import ExportSpec
from rocks.devices.iscsi_target.rules import (
    attributes_of,
    check_export,
    missing_parts,
    refuse_other,
    strangers,
    wanted_acl,
)
from rocks.devices.iscsi_target.tree import Acl, Portal, Store, Tree, Unit
from rocks.errors import IncoherentError, UserError

PREFIX = "iqn.2001-04.com.nas:"
CHAP = ChapSecrets("vm1", "a-secret-of-the-host", "nas", "a-secret-of-the-nas")
WANTED = ExportSpec(
    target=PREFIX + "vm1-vol.3",
    device_path="/dev/zvol/tank/vm1-vol@base",
    read_only=True,
    initiator="iqn.2024-01.org.rocks.lab:vmh1",
    chap=CHAP,
    portal_address="10.9.0.10",
    portal_port=3260,
    unit_serial="0123456789abcdef",
)
STORE = Store("rocks-vm1-vol.3", WANTED.device_path, True, WANTED.unit_serial, True, (WANTED.target,))
TREE = Tree(
    target=WANTED.target,
    groups=(1,),
    is_enabled=True,
    attributes=tuple(attributes_of(WANTED).items()),
    units=(Unit(0, STORE.name),),
    acls=(wanted_acl(WANTED, has_session=True),),
    portals=(Portal("10.9.0.10", 3260),),
)
OTHER = Acl("iqn.2024-01.org.rocks.lab:vmh2", None, (), False)


def test_a_complete_export_lacks_nothing() -> None:
    """Whether somebody is logged in or not."""
    assert missing_parts(WANTED, TREE, (STORE,)) == []
    assert strangers(WANTED, TREE) == ()
    refuse_other(WANTED, TREE, (STORE,))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"groups": ()}, "target"),
        ({"is_enabled": False}, "enabled"),
        ({"attributes": (("generate_node_acls", "1"),)}, "attributes"),
        ({"units": ()}, "LUN"),
        ({"units": (Unit(0, None),)}, "LUN"),
        ({"units": (Unit(0, STORE.name), Unit(1, "x"))}, "LUN"),
        ({"acls": ()}, "access list"),
        ({"acls": (*TREE.acls, OTHER)}, "access list"),
        ({"acls": (TREE.acls[0]._replace(chap=None),)}, "access list"),
        ({"acls": (TREE.acls[0]._replace(mapped=()),)}, "access list"),
        ({"portals": ()}, "portal"),
        ({"portals": (*TREE.portals, Portal("0.0.0.0", 3260))}, "portal"),
    ],
)
def test_each_part_is_missed(changes: dict[str, Any], part: str) -> None:
    """One at a time."""
    assert missing_parts(WANTED, TREE._replace(**changes), (STORE,)) == [part]


def test_a_store_that_is_half_made_is_missed() -> None:
    """Made but not configured, or without its serial, and that is nobody else's."""
    for store in (STORE._replace(is_enabled=False, device_path=""), STORE._replace(unit_serial="")):
        refuse_other(WANTED, TREE, (store,))
        assert missing_parts(WANTED, TREE, (store,)) == ["backstore"]
    assert missing_parts(WANTED, None, ()) == ["target"]


def test_what_is_too_much_is_told() -> None:
    """Each with its name."""
    tree = TREE._replace(
        acls=(*TREE.acls, OTHER),
        portals=(*TREE.portals, Portal("0.0.0.0", 3260)),
        units=(*TREE.units, Unit(1, "x")),
    )
    assert strangers(WANTED, tree) == (
        f"{OTHER.initiator} is no longer let in",
        "no longer listens on 0.0.0.0:3260",
        "LUN 1 is gone",
    )


@pytest.mark.parametrize(
    ("tree", "store", "words"),
    [
        (TREE._replace(groups=(1, 2)), STORE, "portal groups that were not made here"),
        (TREE._replace(units=(Unit(0, "theirs"),)), STORE, "LUN 0 of .* is the backstore theirs"),
        (TREE._replace(acls=(OTHER._replace(has_session=True),)), STORE, "vmh2 is logged in to"),
        (TREE, STORE._replace(read_only=False), "writable with serial .*, not .* read-only"),
        (TREE, STORE._replace(unit_serial="another1"), "with serial another1, not"),
        (TREE, STORE._replace(targets=("iqn.x", WANTED.target)), "serves iqn.x, not"),
    ],
)
def test_what_is_another_s_is_refused(tree: Tree, store: Store, words: str) -> None:
    """Before anything is changed."""
    with pytest.raises(IncoherentError, match=words):
        refuse_other(WANTED, tree, (store,))


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
    check_export(WANTED, PREFIX)
    with pytest.raises(UserError):
        check_export(replace(WANTED, **changes), PREFIX)
