"""What the first record of a stream says: of recorded ones, and in both byte orders."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from rocks.core.errors import IncoherentError, StateError
from rocks.core.process import Finished
from rocks.storage.zfs import tool
from rocks.storage.zfs.facts import ReceiveSpec
from rocks.storage.zfs.pool import BEGIN_BYTES, ONE_SNAPSHOT, VOLUME, check_begin, read_begin
from tests.fakes.zfs import encode_begin

BASE = "9223372036854775809"
"""A guid beyond the signed numbers of 64 bits."""


def begin(order: str = "<", **changes: object) -> bytes:
    fields: dict[str, object] = {"to_guid": "5", "from_guid": BASE, "to_name": "tank/vm-vol@img-1"}
    return encode_begin(**{**fields, **changes}, order=order)  # type: ignore[arg-type]


SPEC = ReceiveSpec("tank/copy", BASE, sender="vmc-0-7")


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
def test_both_byte_orders(order: str) -> None:
    """The same record, and the same decisions."""
    data = begin(order)
    assert len(data) == BEGIN_BYTES == 312
    assert read_begin(data) == (1, 3, BASE, "tank/vm-vol@img-1")
    check_begin(data, SPEC)
    for changes, text in (
        ({"object_set": 2}, "a stream of a file system"),
        ({"object_set": 9}, "a stream of type 9"),
        ({"kind": 2}, "a package of streams"),
        ({"kind": 3}, "a package of streams"),
        ({"kind": 0}, "a package of streams"),
        ({"from_guid": None}, f"a stream from nothing instead of the snapshot {BASE}"),
        ({"from_guid": "7"}, "a stream from the snapshot 7 instead of"),
        ({"to_name": "tank/vm-vol@"}, "a snapshot of the name"),
        ({"to_name": "tank/vm-vol@a@b"}, "a snapshot of the name"),
        ({"to_name": "tank/vm-vol@\x1b[2J"}, r"a snapshot of the name 'tank/vm-vol@\\x1b\[2J'"),
    ):
        with pytest.raises(IncoherentError, match=f"^vmc-0-7 sent {text}.* for tank/copy"):
            check_begin(begin(order, **changes), SPEC)


def test_features_of_a_stream_do_not_matter() -> None:
    """The version has them above its two lowest bits; ZFS itself rejects those that it does not know."""
    data = begin(kind=1 | 0x1C70004 << 2)
    check_begin(data, SPEC)
    assert read_begin(data) == read_begin(begin())


def test_a_resumed_stream_has_its_source_in_the_partial_receive() -> None:
    """Which ZFS compares with the stream itself."""
    check_begin(begin(), ReceiveSpec("tank/copy", is_resumed=True))
    with pytest.raises(IncoherentError, match=f"a stream from the snapshot {BASE} instead of nothing"):
        check_begin(begin(), ReceiveSpec("tank/copy"))


@pytest.mark.parametrize("at", [0, 3, 8, 15])
def test_anything_else_is_no_stream(at: int) -> None:
    """Another record type, another magic number."""
    data = bytearray(begin())
    data[at] ^= 0x41
    assert read_begin(bytes(data)) is None
    with pytest.raises(IncoherentError, match="sent what is no ZFS stream"):
        check_begin(bytes(data), SPEC)


# The first 312 bytes of streams of OpenZFS 2.1.11, as `zfs send` sent them in the lab: of the volume's snapshot `one`,
# its increment to `two` and a clone's, the rest of an interrupted stream, and what is never accepted.
RECORDED = json.loads((Path(__file__).parent / "recorded" / "begins.json").read_text("utf-8"))
ONE = RECORDED["volume guids"]["one"]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("volume", ReceiveSpec("tank/copy")),
        ("increment", ReceiveSpec("tank/copy", ONE)),
        ("clone", ReceiveSpec("tank/copy", ONE)),
        ("resumed", ReceiveSpec("tank/copy", is_resumed=True)),
    ],
)
def test_recorded_streams_of_a_volume(name: str, spec: ReceiveSpec) -> None:
    """Each is what its specification says."""
    data = base64.b64decode(RECORDED["begins"][name])
    check_begin(data, spec)
    record = read_begin(data)
    assert record is not None and (record.kind, record.object_set) == (ONE_SNAPSHOT, VOLUME)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("file_system", "a stream of a file system"),
        ("package", "a package of streams"),
        ("package_of_a_file_system", "a package of streams"),
        ("with_properties", "a package of streams"),
        ("with_intermediate", "a package of streams"),
        ("increment", f"a stream from the snapshot {ONE} instead of nothing"),
        ("clone", f"a stream from the snapshot {ONE} instead of nothing"),
    ],
)
def test_recorded_streams_that_are_rejected(name: str, text: str) -> None:
    """As a new volume; a package also where a stream is resumed."""
    data = base64.b64decode(RECORDED["begins"][name])
    with pytest.raises(IncoherentError, match=f"^vmc-0-7 sent {text}.* for tank/copy"):
        check_begin(data, ReceiveSpec("tank/copy", sender="vmc-0-7"))
    if "package" in text:
        with pytest.raises(IncoherentError, match=text):
            check_begin(data, ReceiveSpec("tank/copy", is_resumed=True))


# A pool that a machine does not have: the frontend prints the text, so it names the machine.


def test_the_machine_without_the_pool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = b"cannot open 'nope': no such pool"
    monkeypatch.setattr(tool, "_run", lambda *_: Finished((), 1, b"", error))
    with pytest.raises(StateError) as refused:
        tool.zpool_health("nope")
    text = str(refused.value)
    assert text.startswith(f"{os.uname().nodename} has no ZFS pool nope: there, `zpool list`")
    assert "no such pool" in text and "this machine" not in text
