"""Shapes survive encoding as JSON; undeclared fields raise an error that names them."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.calls import CALLS
from rocks.fleet.wire.codec import decode, encode
from rocks.fleet.wire.facts import DiskFact, DomainFact, HostFacts
from rocks.fleet.wire.requests import (
    ChangeDomain,
    DiskSpec,
    GrowDisk,
    LinkSpec,
    MakeSnapshot,
    PauseDomain,
    PerformRequest,
    RestoreSnapshot,
    ResumeDomain,
    SaveDomain,
    StartDomain,
    StopDomain,
)

SOURCES = Path(__file__).resolve().parents[4] / "src" / "rocks"

# a received text with NaN is refused (received.py), and NaN equals nothing
st.register_type_strategy(float, st.floats(allow_nan=False))
text = st.text(st.characters(exclude_categories=["Cs"]))
operations = st.one_of(
    st.builds(
        StartDomain,
        disks=st.lists(st.builds(DiskSpec), max_size=2).map(tuple),
        links=st.lists(st.builds(LinkSpec), max_size=2).map(tuple),
    ),
    st.builds(StopDomain, links=st.lists(st.builds(LinkSpec), max_size=1).map(tuple)),
    st.builds(PauseDomain),
    st.builds(ResumeDomain),
    st.builds(ChangeDomain),
    st.builds(GrowDisk),
    st.builds(MakeSnapshot),
    st.builds(RestoreSnapshot),
    st.builds(SaveDomain),
)


@given(st.lists(operations, max_size=4))
def test_operations_survive_encoding(made: list[Any]) -> None:
    """Members of a Union keep their class, for any text."""
    request = PerformRequest(tuple(made))
    assert decode(PerformRequest, json.loads(json.dumps(encode(request))), "request") == request


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: call.name)
def test_every_shape_of_the_table_survives_encoding(call: Any) -> None:
    """Requests and replies of every call, with generated contents."""

    @given(st.from_type(call.request), st.from_type(call.reply))
    def check(request: Any, reply: Any) -> None:
        for shape in (request, reply):
            assert decode(type(shape), json.loads(json.dumps(encode(shape))), "x") == shape

    check()


def host_facts() -> dict[str, Any]:
    """A reply of the facts call as parsed JSON."""
    domain = DomainFact("vm-a-0", "u", "running", 7, 1024, 2, False, True, False)
    disk = DiskFact("/x", True, False, 10, 100, 90)
    facts: dict[str, Any] = encode(HostFacts(2048, 4, True, True, (domain,), (disk,), ("vm-a-0",)))
    return facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(color=1), "field reply.color: unknown here"),
        (lambda facts: facts.pop("cpus"), "field reply.cpus: missing"),
        (lambda facts: facts.update(cpus="4"), "field reply.cpus: expected a whole number, got '4'"),
        (lambda facts: facts.update(cpus=True), "field reply.cpus: expected a whole number, got True"),
        (lambda facts: facts.update(cpus=4.0), "field reply.cpus: expected a whole number"),
        (lambda facts: facts.update(has_8021q=1), "field reply.has_8021q: expected true or false"),
        (lambda facts: facts["disks"][0].update(path=None), r"field reply.disks\[0\].path: expected text"),
        (lambda facts: facts.update(domains={}), "field reply.domains: expected a list"),
        (lambda facts: facts.update(fenced=["a", 1]), r"field reply.fenced\[1\]: expected text, got 1"),
        (
            lambda facts: facts["domains"][0].update(state="dead"),
            r"field reply.domains\[0\].state: expected one of running, blocked",
        ),
        (lambda facts: facts["domains"][0].update(token="7"), r"reply.domains\[0\].token: expected a whole"),
        (lambda facts: facts["domains"].append([]), r"field reply.domains\[1\]: expected an object"),
        (
            lambda facts: facts["disks"][0].update(accelerator="kvm"),
            r"field reply.disks\[0\].accelerator: unk",
        ),
    ],
)
def test_errors_name_the_wrong_field(change: Any, message: str) -> None:
    """Unknown, missing and mistyped fields, at any depth."""
    facts = host_facts()
    decode(HostFacts, facts, "reply")
    change(facts)
    with pytest.raises(IncoherentError, match=message):
        decode(HostFacts, facts, "reply")


@pytest.mark.parametrize("tag", [None, 3, "HostFacts", "startdomain"])
def test_an_unknown_operation_raises_an_error(tag: Any) -> None:
    """A member of a Union must name its class."""
    value = {"operations": [{"shape": tag, "name": "x"}], "fences": [], "epoch": 0, "assumed_disks": None}
    with pytest.raises(
        IncoherentError,
        match=r"field request.operations\[0\].shape: expected one of ChangeDomain, EndArrival, EndDeparture, Freeze",
    ):
        decode(PerformRequest, value, "request")


def test_what_runs_on_hosts_is_python_3_9() -> None:
    """The packages that run on hosts must compile there; wire shapes are evaluated, so no `X | Y` in their fields."""
    names = (SOURCES.parents[1] / "packaging/common-modules").read_text("ascii").split()
    places = [SOURCES / name for name in names]
    files = [file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])]
    assert len(files) > 150
    for file in files:
        source = file.read_text("utf-8")
        ast.parse(source, str(file), feature_version=(3, 9))
        assert "slots=" not in source, file
    for file in (SOURCES / "fleet" / "wire").glob("*.py"):
        annotations = [
            node.annotation
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.AnnAssign)
        ]
        assert not any(isinstance(part, ast.BinOp) for node in annotations for part in ast.walk(node)), file
