"""Errors of hosts on the frontend: they name their host."""

import pytest

from rocks.core.errors import Code, HostError, IncoherentError, RocksError, StateError, ToolError
from rocks.fleet.wire.errors import AgentError, as_agent_error, as_exception, at_host


@pytest.mark.parametrize("family", [HostError, ToolError, IncoherentError])
def test_an_error_of_the_host_names_it(family: type[RocksError]) -> None:
    error = at_host("vmh1", family("cannot write /x: No space left on device", code=Code.POOL_FULL))
    assert type(error) is family and error.code is Code.POOL_FULL
    assert str(error) == "host vmh1: cannot write /x: No space left on device"


@pytest.mark.parametrize("text", ["host vmh1 did not answer", "vmh1: no space", "on vmh1."])
def test_it_is_named_once(text: str) -> None:
    assert str(at_host("vmh1", HostError(text))) == text


@pytest.mark.parametrize(
    "text", ["host vmh10 did not answer", "cannot write /disks/my-vmh1", "vmh1-0 is gone"]
)
def test_another_name_that_contains_it_does_not_count(text: str) -> None:
    assert str(at_host("vmh1", HostError(text))) == f"host vmh1: {text}"


def test_what_the_request_got_wrong_is_not_the_host_s(text: str = "a is running") -> None:
    assert str(at_host("vmh1", StateError(text))) == text


def test_an_error_survives_the_wire() -> None:
    error = as_exception(as_agent_error(HostError("x", code=Code.POOL_FULL)))
    assert (error.family, str(error), error.code) == ("host", "x", Code.POOL_FULL)
    assert isinstance(as_exception(AgentError("strange", "x")), IncoherentError)
