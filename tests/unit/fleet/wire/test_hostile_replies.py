"""Replies of a broken or hostile host: an error of that host, whatever they contain; fixed seeds."""

import contextlib
import itertools
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, RocksError
from rocks.fleet.wire.calls import read_reply, write_error, write_reply
from rocks.fleet.wire.codec import Request
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import (
    AdapterFact,
    AdapterFacts,
    AdapterSpec,
    AdaptersRequest,
    ConsoleFact,
    ConsoleRequest,
    DiskFact,
    DocumentsFact,
    DocumentsRequest,
    DomainFact,
    FactsRequest,
    Fence,
    HostFacts,
    ProbeFact,
    ProbeRequest,
    VfFact,
)
from rocks.fleet.wire.received import LONGEST_TEXT, MAX_VALUES
from rocks.fleet.wire.requests import (
    DropCount,
    InfinibandFacts,
    InfinibandRequest,
    InterfaceFact,
    LinkOutcome,
    NetworkFacts,
    NetworkRequest,
    OperationOutcome,
    PerformReply,
    PerformRequest,
    PortFact,
    ResumeDomain,
    SyncLinksReply,
    SyncLinksRequest,
)

MAC = "52:54:00:00:00:01"
PAIRS: dict[str, tuple[Request[Any], Any]] = {
    "facts": (
        FactsRequest(("/d/vm-a.vda",), (Fence("vm-b", 3),)),
        HostFacts(
            *(2048, 4, True, True),
            domains=(DomainFact("vm-a", "u", "running", 7, 1024, 2, False, True, False),),
            disks=(DiskFact("/d/vm-a.vda", True, False, 10, 100, 90),),
            fenced=("vm-b",),
        ),
    ),
    "perform": (
        PerformRequest((ResumeDomain("vm-a"), ResumeDomain("vm-b"))),
        PerformReply(
            (
                OperationOutcome("vm-a", True, ("a note",)),
                OperationOutcome("vm-b", False, (), AgentError("state", "it is off")),
            )
        ),
    ),
    "console": (ConsoleRequest("vm-a"), ConsoleFact("/log", "/vnc.sock")),
    "documents": (DocumentsRequest(("<domain/>",)), DocumentsFact(("<domain type='qemu'/>",))),
    "probe": (ProbeRequest(), ProbeFact("kvm", "a guest booted", "6.1", True)),
    "infiniband": (
        InfinibandRequest(),
        InfinibandFacts((PortFact("mlx4_0", 1, "0002c90300000001", "ACTIVE", (0x7FFF,)),), (), ("odd",)),
    ),
    "adapters": (
        AdaptersRequest((AdapterSpec("eth0", 2),)),
        AdapterFacts(
            (AdapterFact("eth0", 8, "", (VfFact(0, "0000:01:00.1", MAC, 5, True, None, "guest", "vm-a"),)),)
        ),
    ),
    "network": (
        NetworkRequest(),
        NetworkFacts(
            (
                InterfaceFact(
                    *("vm-a", MAC, "vnet0", "eth0.5", 5, True, True, 1, 2, "on"), (DropCount("source", 3),)
                ),
            )
        ),
    ),
    "sync_links": (
        SyncLinksRequest(()),
        SyncLinksReply((LinkOutcome("eth0.5", "failed", AgentError("host", "no carrier")),)),
    ),
}


@pytest.mark.parametrize("call", PAIRS)
def test_an_honest_reply_is_accepted(call: str) -> None:
    """The cases below change these replies."""
    request, reply = PAIRS[call]
    assert read_reply(write_reply(reply), request) == reply


def changed(reply: Any, change: Callable[[Any], Any]) -> bytes:
    """The line of a reply after a change of its parsed result."""
    envelope = json.loads(write_reply(reply))
    change(envelope["result"])
    return json.dumps(envelope).encode()


FACTS_CHANGES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda f: f.update(disks=[]), "reply.result.disks: nothing about '/d/vm-a.vda'"),
    (lambda f: f["disks"].append(f["disks"][0]), "reply.result.disks: '/d/vm-a.vda' twice"),
    (
        lambda f: f["disks"].append({**f["disks"][0], "path": "/etc/x"}),
        "reply.result.disks: '/etc/x' was not asked",
    ),
    (lambda f: f["domains"].append(f["domains"][0]), "reply.result.domains: 'vm-a' twice"),
    (lambda f: f.update(fenced=["vm-c"]), "reply.result.fenced: 'vm-c' was not asked for"),
    (lambda f: f["domains"][0].update(name="a\x1b[2J"), r"name: not a name: 'a\\x1b\[2J'"),
    (lambda f: f["domains"][0].update(name="n" * 256), "name: not a name"),
    (lambda f: f["domains"][0].update(name="\u202eabc"), r"not a name: '\\u202eabc'"),
    (lambda f: f["domains"][0].update(name="\ud800"), "half of a surrogate pair"),
    (lambda f: f["domains"][0].update(state="flying"), "expected one of running"),
    (lambda f: f["domains"][0].update(token=-1), "-1 is below 0"),
    (lambda f: f.update(memory_mb=-5), "-5 is below 0"),
    (lambda f: f.update(epoch=-5), "-5 is below 0"),
    (lambda f: f.update(epoch=5 * 10**9), "epoch: 5000000000 is too large"),
    (lambda f: f.update(epoch=2**31), "epoch: 2147483648 is too large"),
    (lambda f: f["domains"][0].update(token=2**63), "token: 9223372036854775808 is too large"),
    (lambda f: f.update(memory_mb=2**32), "memory_mb: 4294967296 is too large"),
    (lambda f: f.update(memory_mb=10**30), "a number is too large"),
    (lambda f: f.update(memory_mb=float("nan")), "NaN is no number"),
    (lambda f: f.update(memory_mb=float("inf")), "Infinity is no number"),
    (lambda f: f.update(memory_mb=None), "expected a whole number, got None"),
    (lambda f: f.update(kernel="k" * (LONGEST_TEXT + 1)), "a text is longer than"),
    (lambda f: f.update(fenced=[""] * (MAX_VALUES + 1)), "more than 500000 values"),
    (lambda f: f.update(fenced=[[[[1]]]]), "expected text, got a list of 1"),
    (lambda f: f.update({"x" * 5000 + "\x1b": 1}), "unknown here"),
]


def node(number: int, *cores: list[int]) -> dict[str, Any]:
    """A NUMA node with these cores."""
    return {"number": number, "memory_kb": 2**20, "cores": list(cores), "pages": []}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node(0, [0, 4], [])], "a core without a CPU"),
        ([node(0, [0, 4], [1, 4])], "the CPU 4 twice"),
        ([node(0, [0]), node(1, [0])], "the CPU 0 twice"),
        ([node(0, [0]), node(0, [1])], "the node 0 twice"),
        ([node(0, [65536])], "65536 is no number of a CPU or node"),
        ([node(0, [-1])], "-1 is "),
        ([node(65536, [0])], "65536 is "),
    ],
)
def test_cores_that_no_host_has_are_an_error_of_it(nodes: list[dict[str, Any]], message: str) -> None:
    """They are leased: a CPU that is there twice ended a start of machines on other hosts, too."""
    request, reply = PAIRS["facts"]
    shape = {"nodes": nodes, "devices": [], "has_topoext": False}
    with pytest.raises(IncoherentError, match=f"field reply.result.shape: {message}"):
        read_reply(changed(reply, lambda facts: facts.update(shape=shape)), request)
    shape["nodes"] = [node(0, [0, 2], [1, 3]), node(2, [4, 65535])]
    read_reply(changed(reply, lambda facts: facts.update(shape=shape)), request)


@pytest.mark.parametrize(("change", "message"), FACTS_CHANGES)
def test_an_impossible_reply_names_its_field(change: Callable[[Any], Any], message: str) -> None:
    """The message is short and safe for a terminal."""
    request, reply = PAIRS["facts"]
    with pytest.raises(IncoherentError, match=message) as raised:
        read_reply(changed(reply, change), request)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"version":"1","version":"2"}', "two values under one key"),
        (b'{"version":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        (b'{"version":1e999}', "a number is too large"),
        (b'{"version":' + b"9" * 5000 + b"}", "a number is too large"),
        (b'{"version":"\xff"}', "is not JSON: "),
        (b'{"version":"\\udfff"}', "half of a surrogate pair"),
    ],
)
def test_json_that_no_side_of_ours_writes(line: bytes, message: str) -> None:
    with pytest.raises(IncoherentError, match=message) as raised:
        read_reply(line, ConsoleRequest("a"))
    assert str(raised.value).isprintable() and len(str(raised.value)) < 300


def test_outcomes_are_those_of_the_request() -> None:
    request, reply = PAIRS["perform"]
    for outcomes in (
        reply.outcomes[:1],
        (*reply.outcomes, reply.outcomes[0]),
        (*reply.outcomes, OperationOutcome("vm-c", True)),
        (),
    ):
        with pytest.raises(IncoherentError, match="field reply.result.outcomes"):
            read_reply(write_reply(PerformReply(outcomes)), request)


def test_there_is_a_document_for_each_in_the_request() -> None:
    request, reply = PAIRS["documents"]
    for documents in ((), (*reply.documents, *reply.documents)):
        with pytest.raises(IncoherentError, match="field reply.result.documents"):
            read_reply(write_reply(DocumentsFact(documents)), request)


def test_a_reply_to_another_call() -> None:
    accepted = []
    for asked, answered in itertools.permutations(PAIRS, 2):
        with contextlib.suppress(IncoherentError):
            accepted.append((asked, answered, read_reply(write_reply(PAIRS[answered][1]), PAIRS[asked][0])))
    assert accepted == []


VALUES = [
    *(None, True, False, 0, -1, 2**63, -(2**70), 10**25, 1.5, float("nan"), float("-inf"), 1e308),
    *("", "x", "\ud800", "\udfff\ud800", "\0", "\x1b]0;x\x07", "\u202e", "\x9b2J", "a\nb", "y" * 70_000),
    *([], {}, [[]], [None] * 50, {"": 0}, {"shape": "x"}, {"family": "bug", "message": "m", "code": ""}),
]


def mutated(chance: random.Random, value: Any) -> Any:
    """The value with one of its parts replaced, removed, doubled or moved under another key."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        way = chance.random()
        if way < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if way < 0.2:
            return {**value, chance.choice(["x", "\x1b", "\ud800", "name"]): value[key]}
        return {**value, key: mutated(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        if chance.random() < 0.3:
            return [*value, value[place]]
        return [*value[:place], mutated(chance, value[place]), *value[place + 1 :]]
    return chance.choice(VALUES)


def damaged(chance: random.Random, line: bytes) -> bytes:
    """The line with bytes of it changed, or cut."""
    data = bytearray(line)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(data))
        way = chance.random()
        if way < 0.5:
            data[place] = chance.randrange(256)
        elif way < 0.8:
            data[place:place] = chance.choice([b"\\ud800", b'"', b"[", b"1e999", b"\x1b", b"NaN", b"\xff"])
        else:
            del data[place : place + chance.randrange(20)]
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("call", PAIRS)
@pytest.mark.parametrize("seed", range(4))
def test_changed_replies_are_replies_or_errors(call: str, seed: int) -> None:
    """400 of each: nothing but an error of the project is ever raised, and its text is safe for a terminal."""
    chance = random.Random(f"{call} {seed}")
    request, reply = PAIRS[call]
    lines = [write_reply(reply), write_error(AgentError("state", "no"))]
    accepted = 0
    for _ in range(400):
        line = chance.choice(lines)
        if chance.random() < 0.6:
            line = json.dumps(mutated(chance, json.loads(line))).encode()
        else:
            line = damaged(chance, line)
        try:
            found = read_reply(line, request)
        except RocksError as error:
            assert len(str(error)) < 500 and str(error).isprintable(), error
        else:
            accepted += 1
            assert isinstance(found, (RocksError, type(reply)))
            str(found).encode("utf-8")
    assert accepted < 400
