"""`create site` on an empty server."""

import json
import os
from pathlib import Path

import pytest

from tests.system.commands.conftest import CommandLine, Site
from tests.system.commands.site.conftest import ANSWERS


@pytest.mark.slow
def test_a_machine_becomes_a_frontend(rocks_of_new_machine: CommandLine, answers: Path) -> None:
    rocks = rocks_of_new_machine
    made = rocks("create site", f"answers={answers}")
    assert (made.status, made.out) == (
        0,
        "entered: frontend head, private 10.9.9.2 on eth0, public 203.0.113.2 on eth1\n"
        "rocks check site shows what is left to do\n",
    )
    listed = json.loads(rocks("list host json=yes").out)
    assert [host["host"] for host in listed] == ["head"]
    assert "203.0.113.1" in rocks("dump").out + rocks("list attr").out
    assert "02:71:00:80:00:00" in rocks("list attr").out
    nas = rocks("list appliance attr nas").out.split()
    assert nas[nas.index("img_zpool_disks") + 1] == "rest" and nas[nas.index("img_zpools") + 1] == "tank"

    before = rocks("dump").out
    again = rocks("create site", f"answers={answers}")
    assert (again.status, again.out) == (
        0,
        "unchanged: frontend head, private 10.9.9.2 on eth0, public 203.0.113.2 on eth1\n",
    )
    assert rocks("dump").out == before


def test_other_answers_change_nothing(rocks_of_new_machine: CommandLine, answers: Path) -> None:
    rocks = rocks_of_new_machine
    rocks("create site", f"answers={answers}")
    before = rocks("dump").out
    answers.write_text(ANSWERS.replace("203.0.113.1\n", "203.0.113.9\n").replace("10.9.9.2", "10.9.9.3"))
    refused = rocks("create site", f"answers={answers}")
    assert refused.status == 1
    assert "rocks set attr Kickstart_PublicGateway 203.0.113.9" in refused.err
    assert "no interface with 10.9.9.3" in refused.err
    assert rocks("dump").out == before


def test_wrong_answers_enter_nothing(rocks_of_new_machine: CommandLine, answers: Path) -> None:
    for text, what in [
        ("", "Kickstart_PrivateHostname is missing"),
        (
            ANSWERS.replace("10.9.9.2", "10.9.9").replace("Public", "Pubic"),
            "line 4: Kickstart_PrivateAddress: ",
        ),
        (
            ANSWERS.replace("Gateway", "Gatewy"),
            "line 9: Kickstart_PublicGatewy is not a question; did you mean",
        ),
        ("#" * 70000, "has more than 64 KiB"),
    ]:
        answers.write_text(text)
        refused = rocks_of_new_machine("create", "site", f"answers={answers}")
        assert (refused.status, refused.out) == (1, ""), what
        assert refused.err.startswith("Error: ") and what in refused.err, what
        assert "has version 0" in rocks_of_new_machine("list", "host").err


def test_what_is_no_file_of_answers(rocks_of_new_machine: CommandLine, tmp_path: Path) -> None:
    """Nor is it waited for."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    not_a_file = "it is not a file; give a file of lines NAME = VALUE"
    for name, reason in (
        *((name, f"cannot read the answers in {tmp_path / name}") for name in ("absent", "binary")),
        *((name, not_a_file) for name in ("folder", "fifo")),
    ):
        refused = rocks_of_new_machine("create", "site", f"answers={tmp_path / name}")
        assert refused.status == 1 and reason in refused.err, refused
    assert "give answers=FILE" in rocks_of_new_machine("create", "site").err


def test_a_database_with_hosts_is_not_overwritten(site: Site, answers: Path) -> None:
    site.done("add host old membership=Frontend rack=0 rank=0")
    ended = site.rocks("create site", f"answers={answers}")
    assert ended.status == 1 and "the database has hosts (old)" in ended.err


def test_networks_with_other_addresses_are_not_replaced(site: Site, answers: Path) -> None:
    ended = site.rocks("create site", f"answers={answers}")
    assert ended.status == 1
    assert "the network private exists with other addresses: 10.1.0.0 netmask 255.255.0.0" in ended.err
    assert site.done("list host") == ""
