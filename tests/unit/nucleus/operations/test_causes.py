"""Owners get words for owners, whatever `rocks` and the site say."""

import json

import pytest

from lab.simulator import Simulator
from nucleus.backends.executor import Answer
from nucleus.backends.rocks import Rocks, SiteError
from nucleus.backends.rocks_output import State
from nucleus.operations.causes import CAUSE, CAUSES, RefusedError, error_for, owners_text
from rocks.core.errors import FAMILIES, Code, HostError, RocksError, ToolError

_OPERATORS = (
    "Error: vm-vc1-0 is not started: vm-container-0-0 has 12 MB left, /export/vm/x.vda is in use by vm-vc9-3; "
    "rocks stop host vm vm-vc9-3; systemctl status rocks-database.service"
)


def _error(family: str, code: str) -> RocksError:
    """What `rocks start host vm vm-vc1-0 json=yes` reports."""
    rows = [{"host": "vm-container-0-0", "status": "nostate"}]
    out = [{"vm-host": "vm-vc1-0", "vm": rows, "error": {"family": family, "code": code}}]
    site = Simulator(1)
    site.faults.append((("start",), lambda: Answer(1, json.dumps(out), _OPERATORS)))
    done = Rocks(site, 60).start("vm-vc1-0")
    assert done.seen == State("vm-container-0-0", "nostate") and done.error is not None
    assert "12 MB left" in str(done.error), "the operators' text stays"
    return done.error


@pytest.mark.parametrize("code", ["", *(one.value for one in Code), "of a later version"])
@pytest.mark.parametrize("family", [*FAMILIES, "of a later version"])
def test_every_failure_of_rocks_is_reported_in_words_for_owners(family: str, code: str) -> None:
    text = owners_text(_error(family, code), "n1", "operation 01HX")
    expected = CAUSES.get(code or family) or CAUSES.get(family) or CAUSES[""]
    assert (
        text
        == f"{expected.format(what='n1')}; if this lasts, ask the site's operators, and name operation 01HX"
    )
    for word in ("vm-container", "vm-vc", "12 MB", "/export", "rocks", "systemctl"):
        assert word not in text


def test_a_cause_is_the_code_where_the_table_has_it() -> None:
    assert set(CAUSES) <= {"", *FAMILIES, *(one.value for one in Code)}
    assert "too little left" in owners_text(_error("state", "host_full"), "n1", "operation 1")
    assert "is being transferred" in owners_text(_error("busy", "image_busy"), "n1", "operation 1")


def test_without_a_code_the_cause_is_the_family() -> None:
    for family, text in (
        ("busy", "is changing n1 at this moment"),
        ("host", "does not answer for n1 now"),
        ("state", "in the present state of n1"),
        ("tool", "could not do this for n1"),
    ):
        assert text in owners_text(_error(family, ""), "n1", "operation 1")
    assert "does not answer for n1 now" in owners_text(HostError(_OPERATORS), "n1", "operation 1")


@pytest.mark.parametrize("error", [HostError(_OPERATORS), ToolError(_OPERATORS), SiteError(_OPERATORS)])
def test_only_texts_written_for_owners_pass(error: RocksError) -> None:
    assert "vm-container" not in owners_text(error, "n1", "operation 1")
    assert owners_text(RefusedError("n1 is active; power it off first"), "n1", "operation 1") == (
        "n1 is active; power it off first"
    )


def test_operators_read_what_the_site_reported() -> None:
    stored = {"code": "host", "detail": "the site does not answer", CAUSE: _OPERATORS}
    assert error_for(stored, is_operator=False) == {"code": "host", "detail": "the site does not answer"}
    assert error_for(stored, is_operator=True) == {"code": "host", "detail": _OPERATORS}
    for other in (None, {"code": "cancelled", "detail": "its computeset has ended"}):
        assert error_for(other, is_operator=True) == error_for(other, is_operator=False) == other
