"""Commands of reservations against prepared answers."""

import json
from pathlib import Path

import pytest

from tests.nucleus_server import answer
from tests.unit.comet.conftest import Comet, sent

_TIMES = {"begin": "2026-12-01T10:00:00.000Z", "end": "2026-12-01T12:00:00.000Z"}
_MADE = {
    "id": 7, "site": "UCSD", "owner": "ann", "vc": "dock6\x1b[2J", "cpus": 16, "memory_gb": 4, "ent": False,
    "title": "HKU BioLinux cluster", "description": "for a class",
    "intervals": [
        {**_TIMES, "state": "running", "reason": None, "cluster": "dock7", "address": "203.0.113.9"},
        {**_TIMES, "state": "waiting", "reason": None, "cluster": None, "address": None},
    ],
}  # fmt: skip


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "id.pub"
    path.write_text("ssh-ed25519 AAAA ann\n")
    return f"--key={path}"


def test_a_reservation_is_made_listed_and_cancelled(comet: Comet, key: str) -> None:
    comet.patch.setenv("TZ", "UTC")
    comet.server.answers["reservation"] = answer(201, json.dumps(_MADE).encode())
    created = comet(
        "reservation", "create", "UCSD", "dock6", "--begin=2026-12-01T10:00+09:00", "--end=2026-12-01T12:00Z",
        "--repeat=daily", "--until=2026-12-09T00:00", "--cpus=16", "--memory=4", key,
        "--title=HKU BioLinux cluster", "--description=for a class",
    )  # fmt: skip
    assert created.out == "reservation 7: UCSD is reserved 2 times\n", created.err
    ((_, body),) = sent(comet.server, "POST")
    assert isinstance(body, dict) and body.pop("begin").startswith("2026-12-01T")
    assert body.pop("end")[:11] == "2026-12-01T" and body.pop("until")[:7] == "2026-12"
    assert body == {
        "site": "UCSD", "vc": "dock6", "repeat": "daily", "cpus": 16, "memory_gb": 4,
        "public_key": "ssh-ed25519 AAAA ann", "title": "HKU BioLinux cluster", "description": "for a class",
    }  # fmt: skip
    comet.server.answers["reservation"] = answer(200, json.dumps([_MADE]).encode())
    listed = comet("reservation", "list")
    assert listed.out.count("HKU BioLinux cluster") == 2
    assert "203.0.113.9" in listed.out and listed.out.count("UCSD") == 2 and "\x1b" not in listed.out
    assert json.loads(comet("reservation", "list", "--format=rest").out) == [_MADE]
    cells = comet("reservation", "list", "--format=csv").out
    assert cells.count("UCSD") == 2 and "{" not in cells and "intervals" not in cells
    comet.server.answers["reservation/7"] = answer(204, b"")
    assert comet("reservation", "cancel", "7").out == "reservation 7 is cancelled\n"
    comet.server.answers["reservation"] = answer(200, b"[]")
    assert "comet reservation create" in comet("reservation", "list").err


def test_the_published_clients_words_for_a_reservation(comet: Comet) -> None:
    comet.server.answers["reservation/7"] = answer(204, b"")
    assert comet("reservation", "delete", "7").out == "reservation 7 is cancelled\n"
    refused = comet("reservation", "update", "7")
    assert (refused.status, refused.out) == (5, "")
    assert "not supported: comet reservation cancel 7, then create another" in refused.err
    assert [method for method, *_ in comet.server.requests] == ["DELETE"]


def test_what_is_mistyped_asks_nothing_of_the_server(comet: Comet, key: str) -> None:
    create = ("reservation", "create", "UCSD", "dock6")
    whole = [key, "--begin=2026-12-01T10:00", "--end=2026-12-01T12:00", "--cpus=1", "--memory=1"]
    for typed, part in (
        ([], "--begin, --end, --cpus, --memory, --key"),
        ([*whole, "--begin=tomorrow"], "2026-12-01T10:00"),
        ([*whole, "--begin=0001-01-01T00:00+14:00"], "--begin"),
        ([*whole, "--cpus=-1"], "a number of CPUs"),
        ([*whole, "--key=/none"], "--key=/none"),
        ([*whole, "--key=~nobody-at-all/id.pub"], "this machine has no user nobody-at-all"),
        ([*whole, "--repeat=hourly"], "daily"),
    ):
        refused = comet(*create, *typed)
        assert refused.status == 2 and part in refused.err, typed
    assert comet("reservation", "cancel", "x").status == 2 and comet.server.requests == []


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n",
            "stays with you",
        ),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA\n", "stays with you"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n" + "A" * 20_000, "stays with you"),
        ("ssh-ed25519 AAAA ann\n" * 1000, "too large"),
        ("ssh-ed25519 AAAA ann\nssh-ed25519 BBBB ann\n", "in one line"),
        ("root:x:0:0\n", "in one line"),
        ("", "in one line"),
    ],
)
def test_a_file_without_a_public_key_is_not_sent(
    comet: Comet, tmp_path: Path, content: str, part: str
) -> None:
    """Of a private key not even the server learns, nor who reads the terminal."""
    (tmp_path / "key").write_text(content)
    times = ("--begin=2026-12-01T10:00", "--end=2026-12-01T12:00")
    refused = comet(
        "reservation",
        "create",
        "UCSD",
        "dock6",
        *times,
        "--cpus=1",
        "--memory=1",
        f"--key={tmp_path / 'key'}",
    )
    assert refused.status == 2 and part in refused.err and ".pub" in refused.err
    assert "b3BlbnNzaC1rZXk" not in refused.err and comet.server.requests == []
