"""The cache of answers: never a reason for a command to fail, never another user's."""

import json
import sqlite3
from pathlib import Path

import pytest

from comet.client.cache import Cache
from comet.client.configuration import Endpoint
from tests.nucleus_server import answer
from tests.unit.comet.conftest import Comet
from tests.waiting import at_once


def cache(folder: Path, user: str = "ann", endpoint: str = "https://n") -> Cache:
    return Cache(folder / "comet" / "answers.sqlite", endpoint, user)


def test_an_answer_is_found_again_by_its_user_and_endpoint_only(tmp_path: Path) -> None:
    first = cache(tmp_path)
    first.put("/a", b"[1]", '"e"')
    first.close()
    found = cache(tmp_path).get("/a")
    assert found[:2] == (b"[1]", '"e"')
    assert cache(tmp_path, "bob").get("/a") is None
    assert cache(tmp_path, endpoint="https://m").get("/a") is None
    assert (tmp_path / "comet" / "answers.sqlite").stat().st_mode & 0o777 == 0o600


def test_users_with_other_tokens_are_other_users() -> None:
    one, two, three = (
        Endpoint("e", "https://n", "ann", it).identity
        for it in ("nuc_aaaaaaaa_s", "nuc_bbbbbbbb_s", "secret-text")
    )
    assert len({one, two, three}) == 3
    assert "secret" not in three
    assert Endpoint("e", "https://n", "ann", signature=("ann", "secret")).identity == "ann/"


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to be looked at " * 40, b"SQLite format 3\0" + b"\xff" * 4096],
)
def test_a_broken_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "comet" / "answers.sqlite"
    path.parent.mkdir()
    path.write_bytes(content)
    for _ in range(2):  # the first finds it broken, the second has a new one
        found = cache(tmp_path)
        found.put("/a", b"1", "")
        found.close()
    assert cache(tmp_path).get("/a") is not None


def test_a_file_of_another_version_is_emptied(tmp_path: Path) -> None:
    found = cache(tmp_path)
    found.put("/a", b"1", "")
    found.close()
    with sqlite3.connect(tmp_path / "comet" / "answers.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("ALTER TABLE answer RENAME COLUMN body TO content")
    database.close()
    found = cache(tmp_path)
    assert found.get("/a") is None
    found.put("/a", b"2", "")
    assert found.trouble is None


def test_a_link_or_a_folder_in_its_place_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "others"
    target.write_text("theirs")
    (tmp_path / "comet").mkdir()
    (tmp_path / "comet" / "answers.sqlite").symlink_to(target)
    found = cache(tmp_path)
    found.put("/a", b"1", "")
    assert found.get("/a") is None
    assert found.trouble is not None
    assert target.read_text() == "theirs"


def test_a_file_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache(tmp_path).put("/a", b"1", "")
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    found = cache(tmp_path)
    assert found.get("/a") is None
    assert "belongs to user id" in str(found.trouble)


def test_a_full_disk_costs_the_cache_only(tmp_path: Path) -> None:
    found = cache(tmp_path)
    found.put("/a", b"1", "")
    found._database.execute("PRAGMA max_page_count = 4")
    found.put("/b", b"x" * 100_000, "")
    assert "full" in str(found.trouble)
    found.put("/c", b"1", "")
    assert found.get("/c") is None
    assert cache(tmp_path).get("/a") is not None


def test_many_at_once_lose_nothing_and_fail_never(tmp_path: Path) -> None:
    def work(number: int) -> str | None:
        own = cache(tmp_path)
        for index in range(5):
            own.put(f"/{number}/{index}", b"1", "")
        trouble = own.trouble
        own.close()
        return trouble

    assert not any(at_once(work, range(4)))
    assert len(cache(tmp_path).answers()) == 20


def test_the_cache_answers_for_a_server_whose_site_does_not_answer(comet: Comet) -> None:
    """Within --timeout: the server, whose database hangs, asks to be asked again, which goes on for a minute else."""
    first = comet("ll")
    problem = json.dumps({"type": "/problems/backend-unavailable", "detail": "the database does not answer"})
    comet.server.answers["/cluster/"] = answer(503, problem.encode(), Retry_After="2")
    requests = len(comet.server.requests)
    away = comet("ll", "--timeout=1")
    assert (away.status, away.out) == (6, first.out)
    assert "/nucleus does not answer; this is as of " in away.err and "ago, from the cache" in away.err
    assert len(comet.server.requests) == requests + 1


def test_a_list_of_several_answers_waits_for_a_silent_server_once(comet: Comet) -> None:
    """`comet cluster` asks for computesets, too: it took twice as long as --timeout states."""
    comet("start", "vc2", "vm-vc2-[0-1]", "--walltime=6h")
    first = comet("cluster")
    problem = json.dumps({"type": "/problems/backend-unavailable", "detail": "the database does not answer"})
    for path in ("/cluster/", "/computeset/"):
        comet.server.answers[path] = answer(503, problem.encode(), Retry_After="2")
    requests = len(comet.server.requests)
    away = comet("cluster", "--timeout=1")
    assert (away.status, away.out) == (6, first.out)
    assert len(comet.server.requests) == requests + 1


def test_the_cache_answers_for_a_server_that_is_away(comet: Comet) -> None:
    assert comet("--cached", "ll").status == 6
    first = comet("ll")
    assert comet("--cached", "ll").out == first.out
    requests = len(comet.server.requests)
    assert comet("ll", "--cached").status == 0
    assert len(comet.server.requests) == requests
    comet("ll")
    assert comet.server.requests[-1][2]["If-None-Match"] is not None
    for form in ("json", "rest"):
        typed = ("cluster", "vc2", f"--format={form}")
        assert '"stale": false' in comet(*typed).out
        cached = comet(*typed, "--cached")
        assert '"stale": true' in cached.out and '"stale": false' not in cached.out
        assert cached.status == 0, "it was asked for"
    comet.server.close()
    away = comet("ll", "--timeout=1")
    assert (away.status, away.out) == (6, first.out)
    assert "from the cache" in away.err
    assert comet("cluster", "vc2", "--timeout=1").status == 6
    assert comet("start", "vc2", "--count=1", "--timeout=1").status == 6
    assert comet("cache", "clear").status == 0
    assert comet("ll", "--cached").status == 6
    assert comet("terminate", "1", "--cached").status == 2
