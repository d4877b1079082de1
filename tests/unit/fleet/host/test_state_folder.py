"""Damaged records on a host: an error that names the file and the remedy; the others go on; nothing is waited for."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError
from rocks.fleet.host.state_folder import LONGEST_BYTES, read_cache
from rocks.fleet.wire.requests import LinkSpec, VfSpec
from rocks.machine.host.files import ImageOwners
from rocks.network.host.stored_links import StoredLinks
from rocks.network.sriov.host.guests import AssignedVfs, VfRecords

VF = VfSpec("eth0", 4, 1, "52:54:00:00:00:01")
LINK = LinkSpec("eth0.5", "vlan", "eth0", 5)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def field_removed(path: Path) -> None:
    value = json.loads(path.read_text())
    (value[0] if isinstance(value, list) else value).popitem()
    path.write_text(json.dumps(value))


def field_nulled(path: Path) -> None:
    value = json.loads(path.read_text())
    record = value[0] if isinstance(value, list) else value
    path.write_text(json.dumps([dict.fromkeys(record)] if isinstance(value, list) else dict.fromkeys(record)))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "null": lambda path: path.write_text("null"),
    "other value": lambda path: path.write_text("7"),
    "half a surrogate pair": lambda path: path.write_text('{"x": "\\ud800"}'),
    "long": lambda path: path.write_bytes(b" " * (LONGEST_BYTES + 1)),
    "null fields": field_nulled,
    "directory": directory,
    "FIFO": fifo,
    "link": link,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_of_vfs(tmp_path: Path, damage: str) -> None:
    records = VfRecords(tmp_path)
    for name in ("a", "b", "c"):
        records.write(name, AssignedVfs(3, "boot", (VF,) if name != "c" else ()))
    path = tmp_path / "functions" / "a.json"
    DAMAGES[damage](path)
    with pytest.raises(IncoherentError, match="if a is not running on this host, remove the file") as raised:
        records.read("a")
    assert str(path) in str(raised.value) and len(str(raised.value)) < 500
    assert records.of_others("c") == {("eth0", 1)}, "the record of b counts"
    assert records.read("b") == AssignedVfs(3, "boot", (VF,))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_network_plan(tmp_path: Path, damage: str) -> None:
    plans = StoredLinks(tmp_path)
    for name in ("a", "b"):
        plans.remember(name, (LINK,))
    path = tmp_path / "links" / "a"
    DAMAGES[damage](path)
    with pytest.raises(IncoherentError, match="rocks sync host vlan HOST") as raised:
        plans.recall("a")
    assert str(path) in str(raised.value) and len(str(raised.value)) < 500
    found, errors = plans.all_links()
    assert found == {"eth0.5": LINK} and len(errors) == 1
    if damage != "directory":
        plans.remember("a", (LINK,))
        assert plans.recall("a") == (LINK,), "a start replaces it"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cache_is_found_out_again(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "cache"
    path.write_text('{"key": 1}')
    assert read_cache(path) == {"key": 1}
    if damage != "null fields":
        DAMAGES[damage](path)
        assert read_cache(path) in ({}, {"x": "\ud800"})


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_record_of_an_images_owner(tmp_path: Path, damage: str) -> None:
    """The image never counts as nobody's."""
    owners = ImageOwners(tmp_path)
    for identity in ("wwn-1", "wwn-2"):
        owners.set_device(identity, f"/dev/{identity}", "m")
    path = next(
        p for p in sorted((tmp_path / "images").iterdir()) if json.loads(p.read_text())["identity"] == "wwn-1"
    )
    DAMAGES[damage](path)
    with pytest.raises(
        IncoherentError, match="rocks list host image HOST.* remove the file when that is settled"
    ):
        owners.of_device("wwn-1")
    assert owners.of_device("wwn-2") == "m"
    assert "wwn-2" in [record["identity"] for record in owners.devices()]


def test_a_record_of_an_earlier_release_lacks_fields_with_defaults(tmp_path: Path) -> None:
    """And one of a later release has more: both are read."""
    path = tmp_path / "functions" / "a.json"
    path.parent.mkdir()
    old = {"device": "eth0", "count": 4, "number": 1, "mac": "52:54:00:00:00:01"}
    path.write_text(json.dumps({"token": 3, "boot": "", "functions": [{**old, "later": 1}]}))
    assert VfRecords(tmp_path).read("a") == AssignedVfs(3, "", (VF,))


def test_a_missing_field_is_damage(tmp_path: Path) -> None:
    VfRecords(tmp_path).write("a", AssignedVfs(3, "boot", (VF,)))
    field_removed(tmp_path / "functions" / "a.json")
    with pytest.raises(IncoherentError, match="missing"):
        VfRecords(tmp_path).read("a")
