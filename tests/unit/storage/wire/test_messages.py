"""Messages of image storage: the fields that tools use, and the errors for invalid messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import BusyError, Code, IncoherentError, RocksError, StateError, ToolError
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import (
    read_message,
    read_request,
    success_of,
    write_error,
    write_message,
    write_request,
    write_success,
)
from rocks.storage.wire.requests import ACTIONS, action_of

REQUESTS = [
    wire.MapZvol("tank", "a-vol", "vmc-0-0", "tank", 36, True, "iqn.2024-01.org:vmc", 7),
    wire.MapZvol("tank", "a-vol", "vmc-0-0", None, 36, False, "iqn.2024-01.org:vmc"),
    wire.MapZvol("tank", "a-vol", "vmc-0-0", None, 36, False, "iqn.2024-01.org:vmc", 7, "11111111-uuid"),
    wire.AcceptZvol("tank", "a-vol", "nas-0-0", "id-1", 5),
    wire.MoveZvol("a-vol", "nas-0-1", "tank", 60),
    wire.AddZvol("tank", "a-vol", 2**30),
    wire.AddZvol("tank", "a-vol", origin="golden@1"),
    wire.AddBase("tank", "0" * 64, 2**30, 2**20, "debian-12"),
    wire.ListBases(),
    wire.CloneZvols("tank", (wire.NewClone("a-vol", "b@base", 2**30), wire.NewClone("c-vol")), True),
    wire.FreezeZvols("tank", ("a-vol", "b-vol")),
    wire.HoldSnapshot(
        "a-vol", "tank", ("rocks-snapshot:monday:0123abcd:1-of-1",), True, "123", "11111111-uuid"
    ),
    wire.ReleaseSnapshot("a-vol", "tank", "monday", True, "11111111-uuid"),
    wire.UnmapZvol("a-vol"),
    wire.DelZvol("tank", "a-vol", force=True, with_snapshots=True),
    wire.UndeleteZvol("a-vol"),
    wire.GrowZvol("tank", "a-vol", 50 * 2**30, "11111111-uuid"),
    wire.CheckRequest('{"v": 1}'),
    wire.ListCopies(),
    wire.DelCopy("tank/a-vol", force=True),
    wire.ListZvols(),
    wire.GetZvolAttrs("a-vol"),
    wire.SetZvolAttrs("a-vol", (("frequency", "60"), ("uploadspeed", None))),
    wire.SetZvolAttrs("a-vol", (("persistent", "no"),), "11111111-uuid"),
    wire.GetAttrs(),
    wire.SetAttrs((("frequency", "60"), ("note", None))),
    wire.DelAttrs(("note",)),
    wire.PullZvol("a-vol"),
    wire.CancelZvol("a-vol"),
    wire.RetryZvol("a-vol"),
    wire.AbandonZvol("a-vol", "its host burnt", force=True),
    wire.ListSnapshots("a-vol"),
    wire.RestoreZvol("a-vol", "img-1-2-20260101T000000Z", "11111111-uuid", "tank"),
    wire.ListOperations(),
    wire.OperationStatus("4711"),
    wire.ListDevices(),
    wire.ListInitiator(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_requests_are_read_as_written(request_: object) -> None:
    """By the role that answers them."""
    message = read_message(write_request(request_, op_id="4711"))
    assert message.op_id == "4711"
    assert read_request(message, ACTIONS[message.action].role) == request_


def test_every_action_is_tested() -> None:
    """The table and the list above are the same."""
    assert {type(request) for request in REQUESTS} == {action.shape for action in ACTIONS.values()}


def test_message_of_an_old_tool() -> None:
    """Without an envelope, sizes as text, attributes beside the volume, unknown fields."""
    old = {"action": "map_zvol", "zpool": "tank", "zvol": "a", "remotehost": "h", "size": "36", "sync": True}
    request = read_request(read_message(json.dumps({**old, "initiator": "iqn", "colour": 1}).encode()), "nas")
    assert request == wire.MapZvol("tank", "a", "h", None, 36, True, "iqn")
    attributes = {"action": "set_zvol_attrs", "zvol": "a", "frequency": 60, "nextsync": None, "colour": "red"}
    assert read_request(read_message(json.dumps(attributes).encode()), "nas") == wire.SetZvolAttrs(
        "a", (("frequency", "60"), ("nextsync", None))
    )


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (b"\xff", "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"v": 2, "action": "list_zvols"}', "upgrade this side"),
        (b'{"action": 5}', "field message.action: expected text"),
        (b'{"action": "map_zvol", "zvol": "a"}', "field message.zpool: missing"),
        (b'{"action": "unmap_zvol", "zvol": 5}', "field message.zvol: expected text"),
        (b'{"action": "set_attrs", "attrs": []}', "field message.attrs: expected an object"),
        (b'{"action": "set_zvol_attrs"}', "field message.zvol: missing"),
        (b'{"action": "list_dev"}', "action_unsupported"),
        (b'{"action": "frobnicate"}', "action_unsupported"),
        (b"{}", "action_unsupported"),
    ],
)
def test_an_invalid_message_is_an_error(body: bytes, arguments: str) -> None:
    """It names the field."""
    with pytest.raises(IncoherentError, match=arguments):
        read_request(read_message(body), "nas")


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str).map(str.encode)
)
def test_arbitrary_bytes_are_an_error_at_most(body: bytes) -> None:
    """Of one line."""
    try:
        read_request(read_message(body), "nas")
    except RocksError as error:
        assert "\n" not in str(error)


def test_answers() -> None:
    """A success has its fields, an error its family and text; the answer to an unknown action has no action."""
    good = read_message(write_success("map_zvol", {"bdev": "/dev/mapper/a-vol-snap"}, op_id="1"))
    assert (good.action, success_of(good)["bdev"]) == ("zvol_mapped", "/dev/mapper/a-vol-snap")
    bad = read_message(write_error("map_zvol", StateError("ZVol a-vol is busy"), op_id="1"))
    assert bad.fields["status"] == "error"
    with pytest.raises(StateError, match="ZVol a-vol is busy"):
        success_of(bad)
    unknown = json.loads(write_error("frobnicate", IncoherentError("action_unsupported")))
    assert (unknown["status"], unknown["error"], "action" in unknown) == (
        "error",
        "action_unsupported",
        False,
    )
    with pytest.raises(ToolError, match="Error occured"):
        success_of(read_message(write_message("zvol_mapped", {"status": "error"})))


@pytest.mark.parametrize("code", [*Code, None])
def test_an_error_code_travels_beside_the_text(code: Code | None) -> None:
    """The receiver raises the same family and code, whatever the text is. The answer to an unknown action has none."""
    answer = read_message(write_error("map_zvol", BusyError("another text", code=code), op_id="1"))
    if code is Code.ACTION_UNSUPPORTED:
        assert (answer.action, answer.fields["error"]) == ("", "action_unsupported")
    with pytest.raises(BusyError) as raised:
        success_of(answer)
    assert raised.value.code is code


def test_an_unknown_code_is_ignored() -> None:
    """A newer release may have more codes."""
    fields = {"status": "error", "error": "no", "family": "state", "code": "image_melted"}
    with pytest.raises(StateError, match="no") as raised:
        success_of(read_message(write_message("zvol_mapped", fields)))
    assert raised.value.code is None


def test_the_text_alone_does_not_make_an_action_unsupported() -> None:
    """The code decides how the answer is written."""
    answer = read_message(write_error("map_zvol", IncoherentError("action_unsupported"), op_id="1"))
    assert answer.action == "zvol_mapped"


def test_how_a_repeated_request_is_treated_is_declared_once() -> None:
    """A NAS and a dry run rely on these."""
    by_repetition = {
        repetition: {action.name for action in ACTIONS.values() if action.repetition == repetition}
        for repetition in ("reads", "again", "in time", "once")
    }
    reading = {name for name in ACTIONS if name.startswith(("list_", "get_"))}
    assert reading | {"op_status", "check_request"} == by_repetition["reads"]
    assert by_repetition["again"] == {
        *("add_zvol", "accept_zvol", "set_zvol_attrs", "set_attrs", "del_attrs", "del_copy"),
    }
    assert by_repetition["in time"] == {
        *("add_base", "clone_zvols", "freeze_zvols", "hold_snapshot", "release_snapshot"),
    }
    assert action_of(wire.UnmapZvol("a")).name in by_repetition["once"]
