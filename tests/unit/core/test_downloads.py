"""Downloads from a real web server that stalls, is cut off, lies, changes its files, and leads elsewhere."""

import re
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.request import Request

import pytest

from rocks.core import downloads
from rocks.core.downloads import MissingFileError, ask, check_url, download, fetch
from rocks.core.errors import HostError, RocksError, UserError
from tests.patience import patience
from tests.range_server import RangeServer, Served

CONTENT = bytes(range(256)) * 4000
OTHER = CONTENT[::-1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with RangeServer() as found:
        found.files["/a"] = Served(CONTENT, etag='"1"', modified="Sun, 01 Nov 2026 00:00:00 GMT")
        yield found


def brought(
    server: RangeServer, target: Path, path: str = "/a", max_bytes: int = 10**7
) -> tuple[bytes, list[int]]:
    """The content of the target after a download, and (bytes that were there, those of the whole, those that came)."""
    begun: list[int] = []
    came: list[int] = []
    download(server.url + path, target, max_bytes, lambda *numbers: begun.extend(numbers), came.append)
    return target.read_bytes(), [*begun, sum(came)]


def failed(server: RangeServer, target: Path, path: str = "/a", max_bytes: int = 10**7) -> RocksError:
    with pytest.raises(RocksError) as error:
        brought(server, target, path, max_bytes)
    assert "\n" not in str(error.value)
    return error.value


def test_a_file_is_brought_and_taken_again_only_when_the_server_has_another(server, tmp_path):
    target = tmp_path / "a"
    assert brought(server, target) == (CONTENT, [0, len(CONTENT), len(CONTENT)])
    assert brought(server, target) == (CONTENT, [0])
    assert server.requests[-1][2]["If-None-Match"] == '"1"'
    server.change("/a", content=OTHER, etag='"2"')
    assert brought(server, target)[0] == OTHER


def test_the_time_of_change_serves_where_there_is_no_etag(server, tmp_path):
    server.change("/a", etag="")
    brought(server, tmp_path / "a")
    assert brought(server, tmp_path / "a") == (CONTENT, [0])
    assert "If-Modified-Since" in server.requests[-1][2]


def test_a_file_without_validator_is_taken_again(server, tmp_path):
    server.change("/a", etag="", modified="")
    brought(server, tmp_path / "a")
    server.change("/a", content=OTHER)
    assert brought(server, tmp_path / "a")[0] == OTHER


@pytest.mark.parametrize("stalls", [False, True])
def test_what_is_cut_off_or_stalls_is_continued(server, tmp_path, monkeypatch, stalls):
    server.change("/a", stop_after=500_000, stalls=stalls)
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "SILENCE_SECONDS", patience(0.2))  # in which the server begins
        error = failed(server, tmp_path / "a")
    assert isinstance(error, HostError)
    assert "repeat the command, which continues" in str(error)
    there = (tmp_path / "a").stat().st_size
    assert 0 < there <= 500_000
    server.change("/a", stop_after=None, stalls=False)
    assert brought(server, tmp_path / "a") == (CONTENT, [there, len(CONTENT), len(CONTENT) - there])
    assert server.requests[-1][2]["Range"] == f"bytes={there}-"


@pytest.mark.parametrize(
    "changes",
    [
        {"content": OTHER, "etag": '"2"'},
        {"content": OTHER[:100], "etag": '"2"'},
        {"has_ranges": False},
        {"lies": True},
        {"content": CONTENT[:300_000]},
    ],
)
def test_what_cannot_be_continued_begins_anew(server, tmp_path, changes):
    """The file has changed, the server has no ranges or sends other ones, or the file has become shorter."""
    server.change("/a", stop_after=500_000)
    failed(server, tmp_path / "a")
    server.change("/a", stop_after=None, **changes)
    content, numbers = brought(server, tmp_path / "a")
    assert content == server.files["/a"].content
    assert numbers == [0, len(content), len(content)]


def test_a_journal_of_another_file_is_not_used(server, tmp_path):
    server.files["/b"] = Served(OTHER, etag='"1"')
    brought(server, tmp_path / "a")
    assert brought(server, tmp_path / "a", "/b")[0] == OTHER
    (tmp_path / "a.json").write_text("damaged")
    assert brought(server, tmp_path / "a", "/b")[0] == OTHER


def test_after_a_power_failure_an_incomplete_file_is_not_trusted(server, tmp_path, monkeypatch):
    server.change("/a", stop_after=500_000)
    failed(server, tmp_path / "a")
    server.change("/a", stop_after=None)
    monkeypatch.setattr(downloads, "_boot", lambda: "another")
    assert brought(server, tmp_path / "a") == (CONTENT, [0, len(CONTENT), len(CONTENT)])
    monkeypatch.undo()
    assert brought(server, tmp_path / "a") == (CONTENT, [0])


def test_a_server_that_states_no_size(server, tmp_path):
    server.change("/a", is_chunked=True)
    assert brought(server, tmp_path / "a")[0] == CONTENT
    assert brought(server, tmp_path / "a") == (CONTENT, [0])


@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_bound_holds_whatever_the_server_states(server, tmp_path, is_chunked):
    server.change("/a", is_chunked=is_chunked)
    assert "more than 1000 bytes" in str(failed(server, tmp_path / "a", max_bytes=1000))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="more than 1000 bytes"):
        fetch(server.url + "/a", 1000)


def test_redirections_lead_to_http_only(server, tmp_path):
    server.redirects = {"/1": "/2", "/2": server.url + "/a", "/loop": "/loop"}
    assert brought(server, tmp_path / "a", "/1")[0] == CONTENT
    assert ask(server.url + "/1").etag == '"1"'
    assert server.requests[-1][0] == "HEAD"
    for place in ("file:///etc/passwd", "FILE:/etc/passwd", "ftp://127.0.0.1/a", "data:,x", "gopher://x"):
        server.redirects["/away"] = place
        error = failed(server, tmp_path / "b", "/away")
        assert isinstance(error, UserError)
        assert "only http and https are followed" in str(error)
    for place in (
        "http://[bad/",
        "http://a..b/",
        "http://ann:secret@127.0.0.1/a",
        "http://127.0.0.1:99999/a",
    ):
        server.redirects["/away"] = place
        error = failed(server, tmp_path / "b", "/away")
        assert isinstance(error, UserError)
        assert "secret" not in str(error)
    assert "redirect" in str(failed(server, tmp_path / "b", "/loop"))
    assert not (tmp_path / "b").exists()


def test_a_redirection_from_https_to_http_is_refused():
    request = Request("https://example.org/a")
    handler = downloads._Redirections()
    assert handler.redirect_request(request, None, 302, "", {}, "https://example.net/a") is not None
    with pytest.raises(UserError, match="not encrypted"):
        handler.redirect_request(request, None, 302, "", {}, "http://example.org/a")


CLIENTS = {
    "rocks/core/downloads.py": "for rocks, nucleus and pragma; never from https to http",
    "rocks/machine/host/end_reports.py": "from a port of root's; follows no redirection",
    "comet/client/connection.py": "comet knows nothing of rocks; follows no redirection",
}


def test_no_other_program_asks_web_servers_in_a_way_of_its_own():
    """The client of the identity provider followed from https to http, which the others did not."""
    source = Path(downloads.__file__).parents[2]
    client = re.compile(
        r"urllib\.request|from urllib import .*request|urlopen|HTTPS?Connection\(|\b(httpx|aiohttp|urllib3)\b"
    )
    folders = [*(source / name for name in ("rocks", "nucleus", "comet")), source.parent / "roll"]
    found = {
        path for folder in folders for path in folder.rglob("*.py") if client.search(path.read_text("utf-8"))
    }
    assert found == {source / name for name in CLIENTS}
    assert len(list((source.parent / "roll").rglob("*.py"))) > 10
    for path in (
        source / "rocks/install/graph/first-boot",
        source.parent / "roll/installer/initramfs/lib/report.sh",
    ):
        assert path.read_text("utf-8").count("--https-only --max-redirect=0") == 1


def test_a_form_is_sent_to_the_server_that_was_named_only(server):
    server.redirects = {"/form": "/a"}
    with pytest.raises(UserError, match="what is sent is not sent elsewhere"):
        fetch(server.url + "/form", 10**7, b"secret=x")
    assert [method for method, _, _ in server.requests] == ["POST"]


def test_an_answer_not_modified_that_nobody_asked_for_is_an_error(server, tmp_path):
    """Also to a range: what is there is not complete."""
    server.change("/a", stop_after=500_000)
    failed(server, tmp_path / "a")
    server.statuses = {"/a": 304}
    assert "answers 304" in str(failed(server, tmp_path / "a"))
    assert "Range" in server.requests[-1][2]
    for call in (lambda url: fetch(url, 100), ask):
        with pytest.raises(RocksError, match="answers 304"):
            call(server.url + "/a")


@pytest.mark.parametrize("length", [b"-5", b"-1", b"x"])
def test_a_chunk_without_a_valid_length_is_an_error(server, tmp_path, length):
    server.raw["/a"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + length + b"\r\n" + 3000 * b"a"
    )
    assert isinstance(failed(server, tmp_path / "a"), HostError)
    with pytest.raises(HostError):
        fetch(server.url + "/a", 10**6)
    with pytest.raises(RocksError):
        fetch(server.url + "/a", 1000)


def test_an_error_of_tls_while_it_is_read_is_the_servers(server, monkeypatch):
    def read1(*_: object) -> bytes:
        raise ssl.SSLError("bad record")

    monkeypatch.setattr(HTTPResponse, "read1", read1)
    with pytest.raises(HostError, match="before its end"):
        fetch(server.url + "/a", 10**7)


def test_what_a_server_answers_instead(server, tmp_path):
    assert isinstance(failed(server, tmp_path / "b", "/absent"), MissingFileError)
    server.statuses = {"/a": 403}
    assert isinstance(failed(server, tmp_path / "b"), UserError)
    server.statuses = {"/a": 503}
    assert isinstance(failed(server, tmp_path / "b"), HostError)
    with RangeServer() as other:
        pass
    assert "does not answer" in str(failed(other, tmp_path / "b"))


def test_a_small_file_that_is_cut_off_is_an_error(server):
    server.files["/small"] = Served(b"1234567890", stop_after=4)
    with pytest.raises(HostError, match="before its end"):
        fetch(server.url + "/small", 100)
    server.change("/small", stop_after=None)
    assert fetch(server.url + "/small", 10) == b"1234567890"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a",
        "file:///etc/passwd",
        "ftp://example.org/a",
        "http://",
        "http:///a",
        "http://example.org/a b",
        "http://example.org/\n",
        "http://example.org:0x/",
        "http://[bad/",
        "http://a..b/",
        f"http://{64 * 'a'}.example.org/",
        "http://example.org:99999/",
        "http://ann:secret@example.org/",
        "http://[::1/",
        "http://é.example.org/",
        "http://example.org/" + 2000 * "a",
    ],
)
def test_what_is_no_url(url):
    with pytest.raises(UserError) as error:
        check_url(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a: b\r\n"),
    ],
)
def test_a_small_file_that_trickles_has_an_end(server, monkeypatch, begin, more):
    """The server sends these for ever, so an end is that of the bound."""
    monkeypatch.setattr(downloads, "SMALL_SECONDS", 0.2)
    server.drips["/a"] = begin, more
    with pytest.raises(HostError, match=r"/a did not come within 0\.2 seconds; repeat the command"):
        fetch(server.url + "/a", 10**6)
    if not more.startswith(b"H"):
        return
    with pytest.raises(HostError, match=r"/a did not come within 0\.2 seconds"):
        ask(server.url + "/a")


@pytest.mark.parametrize("status", [b"204 No Content", b"206 Partial Content"])
def test_a_small_file_comes_as_a_whole(server, status):
    server.raw["/a"] = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(HostError, match="answers 20[46] to"):
        fetch(server.url + "/a", 100)
