"""The agent as a program: requests on standard input, arguments, libvirt's hook."""

import json
import os
import sys
from pathlib import Path

import pytest

import rocks
from rocks.core.process import run
from rocks.fleet.wire.calls import read_reply, write_request
from rocks.fleet.wire.facts import FactsRequest, ProbeRequest
from rocks.leases.host.leases import Leases
from tests.contract.agents import xml
from tests.patience import patience

SOURCES = Path(__file__).resolve().parents[3] / "src"


def run_agent(folder: Path, tokens: list[str], lines: bytes = b"") -> tuple[int, bytes, bytes]:
    """The agent as a program: exit status, output, error output."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "ROCKS_STATE_FOLDER": str(folder)}
    environment["ROCKS_LIBVIRT_URI"] = "qemu:///system?socket=/no/such/socket"
    finished = run(
        [sys.executable, "-m", "rocks.agent", *tokens],
        deadline_seconds=patience(30),
        standard_input=lines,
        environment=environment,
    )
    return finished.exit_status, finished.output, finished.error_output


def test_one_request_or_many(tmp_path: Path) -> None:
    """Without arguments one reply; with --serve one for each line until the end, and a receipt for each request."""
    line = write_request(ProbeRequest())
    status, output, _ = run_agent(tmp_path, [], line + line)
    assert status == 0 and output.count(b"\n") == 1
    status, output, _ = run_agent(tmp_path, ["--serve"], line + b"garbage\n" + line)
    assert status == 0
    assert [bool(reply) for reply in output.splitlines()] == [False, True, True, False, True]
    replies = [json.loads(reply) for reply in output.splitlines() if reply]
    assert [reply["ok"] for reply in replies] == [True, False, True]
    assert all(reply["version"] == rocks.__version__ for reply in replies)


def test_absence_of_libvirt_is_a_host_error(tmp_path: Path) -> None:
    """libvirt prints nothing."""
    pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    status, output, error_output = run_agent(tmp_path, [], write_request(FactsRequest()))
    assert status == 0 and error_output == b""
    error = read_reply(output.strip(), FactsRequest())
    assert error.family == "host"
    assert "libvirt on this host does not answer at qemu:///system?socket=/no/such/socket" in str(error)


def test_unknown_arguments(tmp_path: Path) -> None:
    """Usage on standard error, status 2."""
    for tokens in (["--help"], ["probe", "never"], ["--serve", "x"], ["hello"]):
        status, output, error_output = run_agent(tmp_path, tokens)
        assert (status, output) == (2, b"") and error_output.startswith(b"usage: rocks-agent")
    assert run_agent(tmp_path, ["--version"]) == (0, rocks.__version__.encode() + b"\n", b"")


@pytest.mark.parametrize(
    ("tokens", "document", "status"),
    [
        (["a", "prepare", "begin", "-"], xml("a", 6), 1),
        (["a", "prepare", "begin", "-"], xml("a", 7), 0),
        (["a", "prepare", "begin", "-"], xml("a", 8), 0),
        (["b", "prepare", "begin", "-"], xml("b", 1), 0),
        (["a", "prepare", "begin", "-"], "<domain><name>a</name></domain>", 0),
        (["a", "prepare", "begin", "-"], "<domain", 1),
        (["a", "release", "end", "-"], xml("a", 6), 0),
        (["a", "started", "begin", "-"], "", 0),
    ],
)
def test_the_hook(tmp_path: Path, tokens: list[str], document: str, status: int) -> None:
    """An overtaken lease cannot start; all other operations pass."""
    Leases(tmp_path).admit("a", 7)
    ended, output, error_output = run_agent(tmp_path, ["hook", *tokens], document.encode())
    assert (ended, output) == (status, b"")
    assert bool(error_output) == bool(status)
    if status and "lease" in document:
        text = b"rocks: a belongs to lease 6, but this host has seen lease 7; run `rocks start"
        assert text in error_output


def test_the_probe_for_an_operator(tmp_path: Path) -> None:
    """One JSON object."""
    status, output, _ = run_agent(tmp_path, ["probe"])
    fact = json.loads(output)
    assert status == 0 and fact["accelerator"] in ("kvm", "tcg") and fact["reason"]


def test_an_agent_whose_reader_is_gone_ends(tmp_path: Path) -> None:
    """No traceback, no waiting."""
    from rocks.core.process import start_with_pipes

    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "ROCKS_STATE_FOLDER": str(tmp_path)}
    process = start_with_pipes([sys.executable, "-m", "rocks.agent", "--serve"], environment)
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(write_request(ProbeRequest()))
    process.stdin.flush()
    assert process.wait(120) == 1
    assert b"Traceback" not in process.stderr.read()
    process.stdin.close()
    process.stderr.close()
