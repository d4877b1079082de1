"""Commands that run at the same moment, as processes of their own."""

import os
import subprocess  # noqa: TID251 - starts several at once, as operators do
import sys
import sysconfig
from pathlib import Path

import pytest

import rocks
from tests.system.commands.conftest import Site

LAUNCHER = Path(rocks.__file__).parent / "cli" / "launch.py"


@pytest.fixture
def processes(site: Site, cluster_environment: dict[str, str]) -> dict[str, str]:
    """The environment for a `rocks` of its own; `site` has made the networks."""
    return {
        "PATH": os.environ["PATH"],
        "ROCKS_SITE_PACKAGES": sysconfig.get_path("purelib"),
        "ROCKS_LAUNCHER": "/opt/rocks/bin/rocks",
        **cluster_environment,
    }


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """`rocks WORDS…` in a process, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-E", "-S", str(LAUNCHER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(started: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """(exit status, standard error) of each, when all have ended."""
    outcomes = []
    for process in started:
        _, error_output = process.communicate(timeout=60)
        outcomes.append((process.returncode, error_output))
    return outcomes


def test_of_two_that_add_the_same_host_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    for number in range(3):
        outcomes = ends([start(processes, "add", "host", f"compute-0-{number}") for _ in range(2)])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        (message,) = [error for status, error in outcomes if status]
        assert message.startswith("Error: ") and "Traceback" not in message
    assert len(site.done("list host").splitlines()) == 4


def test_of_many_that_take_the_same_address_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    for number in range(4):
        site.done("add host", f"compute-0-{number}")
    arguments = ("add", "host", "interface")
    outcomes = ends(
        [
            start(processes, *arguments, f"compute-0-{n}", "eth0", "ip=10.1.0.9", "subnet=private")
            for n in range(4)
        ]
    )
    assert sorted(status for status, _ in outcomes) == [0, 1, 1, 1], outcomes
    assert all("Traceback" not in error for _, error in outcomes)


def test_of_eight_that_take_the_same_address_on_different_networks_one_succeeds(
    site: Site, processes: dict[str, str]
) -> None:
    """The unique key of the table is (network, address): without a network, or with another one, it does not help."""
    for number in range(8):
        site.done("add host", f"compute-0-{number}")
        site.done("add host interface", f"compute-0-{number}", "eth0")
    adding = ("add", "host", "interface")
    setting = ("set", "host", "interface", "ip")
    outcomes = ends(
        [start(processes, *adding, f"compute-0-{n}", "eth1", "ip=198.51.100.9") for n in range(4)]
        + [start(processes, *setting, f"compute-0-{n}", "eth0", "198.51.100.9") for n in range(4, 8)]
    )
    assert sorted(status for status, _ in outcomes) == [0] + [1] * 7, outcomes
    assert all("is in use by host" in error for status, error in outcomes if status)
    assert site.database.rows("SELECT COUNT(*) FROM networks WHERE IP = '198.51.100.9'") == [(1,)]


def test_different_hosts_do_not_hinder_each_other(site: Site, processes: dict[str, str]) -> None:
    outcomes = ends([start(processes, "add", "host", f"compute-0-{number}") for number in range(8)])
    assert outcomes == [(0, "")] * 8
    outcomes = ends([start(processes, "remove", "host", f"compute-0-{number}") for number in range(8)])
    assert outcomes == [(0, "")] * 8
    assert site.done("list host") == ""


def test_words_reach_the_database_as_they_were_typed(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0")
    options = "a='b' \"c\" <d>&amp; $(e) `f` \\ é日本"
    arguments = ("set", "host", "interface", "options", "compute-0-0", "eth0", f"options={options}")
    assert ends([start(processes, *arguments)]) == [(0, "")]
    assert site.database.rows("SELECT Options FROM networks") == [(options,)]
    listed, _ = start(processes, "list", "host", "interface", "output-col=options").communicate(timeout=60)
    assert listed == f"OPTIONS{' ' * (len(options) - 7)}\n{options}\n"


def test_bytes_that_are_not_utf8_are_rejected(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    process = subprocess.run(
        [sys.executable, "-E", "-S", str(LAUNCHER), "set", "host", "name", "compute-0-0", b"\xff\xfe"],
        env=processes,
        capture_output=True,
    )
    assert process.returncode == 1
    assert process.stderr.count(b"\n") == 1 and process.stderr.startswith(b"Error: ")
