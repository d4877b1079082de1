"""Images that web servers have: `rocks add image NAME url=`."""

import gzip
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.range_server import RangeServer, Served
from tests.system.commands.conftest import Site

DISK = bytes(range(256)) * 8000 + bytes(512)
PACKED = gzip.compress(DISK, 1, mtime=0)
PART = len(PACKED) // 3 + 1
PARTS = (PACKED[:PART], PACKED[PART : 2 * PART], PACKED[2 * PART :])


@pytest.fixture
def server(vm_site: Site, tmp_path: Path) -> Iterator[RangeServer]:
    """A web server with a disk, and with the same disk packed and in parts; the library of the site is empty."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        vm_site.patch.delenv(name, raising=False)
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    with RangeServer() as found:
        found.files = {"/vc/disk.img": Served(DISK, etag='"1"')}
        found.files |= {
            f"/vc/disk.gz.{number}": Served(part, etag='"1"') for number, part in enumerate(PARTS)
        }
        yield found


def sums(**digests: str) -> Served:
    return Served("".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parts_url(server: RangeServer) -> str:
    return ",".join(f"{server.url}/vc/disk.gz.{number}" for number in range(len(PARTS)))


def content(tmp_path: Path, name: str) -> bytes:
    return (tmp_path / "library" / f"{name}.img").read_bytes()


def left(tmp_path: Path) -> list[str]:
    """What the library has beside images and their records."""
    return sorted(path.name for path in (tmp_path / "library").glob(".*"))


def test_an_image_and_one_in_parts(vm_site: Site, server: RangeServer, tmp_path: Path) -> None:
    server.files["/vc/SHA256SUMS"] = sums(**{"disk.img": sha256(DISK), "other": 64 * "0"})
    vm_site.done("add image one", f"url={server.url}/vc/disk.img")
    assert content(tmp_path, "one") == DISK
    record = json.loads((tmp_path / "library/one.json").read_text())
    assert record["source_digest"] == sha256(DISK)
    server.files["/vc/SHA256SUMS"] = sums(**{f"disk.gz.{n}": sha256(part) for n, part in enumerate(PARTS)})
    vm_site.done("add image parts", f"url={parts_url(server)}", f"checksum={sha256(PACKED)}")
    assert content(tmp_path, "parts") == DISK
    assert left(tmp_path) == []


def test_a_server_that_does_not_answer_leaves_nothing(
    vm_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/disk.img"
        assert "the image one is not imported: " in vm_site.refused("add image one", f"url={url}")
    assert left(tmp_path) == []


def test_what_was_interrupted_is_continued_or_removed(
    vm_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    server.change("/vc/disk.gz.1", stop_after=1000)
    refused = vm_site.refused("add image parts", f"url={parts_url(server)}")
    assert refused.startswith("the image parts is not imported: the web server 127.0.0.1 ended")
    assert "repeat the command, which continues" in refused
    listed = vm_site.rocks("list image")
    assert "parts" in listed.out + listed.err
    server.change("/vc/disk.gz.1", stop_after=None)
    server.requests.clear()
    vm_site.done("add image parts", f"url={parts_url(server)}")
    assert [headers.get("Range") for _, path, headers in server.requests if "disk" in path] == [
        None,
        "bytes=1000-",
        None,
    ]
    assert content(tmp_path, "parts") == DISK
    server.change("/vc/disk.img", stop_after=1000)
    vm_site.refused("add image two", f"url={server.url}/vc/disk.img")
    assert left(tmp_path) == [".two.download"]
    vm_site.done("remove image two")
    assert left(tmp_path) == []


def test_damaged_content_is_not_imported_and_fetched_again(
    vm_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    good = server.files["/vc/disk.gz.1"]
    server.change("/vc/disk.gz.1", content=good.content[::-1])
    server.files["/vc/SHA256SUMS"] = sums(**{f"disk.gz.{n}": sha256(part) for n, part in enumerate(PARTS)})
    assert "SHA256SUMS beside it states" in vm_site.refused("add image parts", f"url={parts_url(server)}")
    server.files["/vc/disk.gz.1"] = good
    vm_site.done("add image parts", f"url={parts_url(server)}")
    assert content(tmp_path, "parts") == DISK
    server.files["/vc/SHA256SUMS"] = sums(**{"disk.img": 64 * "1"})
    assert "its SHA-256 is" in vm_site.refused("add image one", f"url={server.url}/vc/disk.img")
    assert left(tmp_path) == []
    vm_site.done("add image one", f"url={server.url}/vc/disk.img", f"checksum={sha256(DISK)}")


def test_sums_that_are_not_given_are_missing_and_not_asked_for_beside_a_checksum(
    vm_site: Site, server: RangeServer
) -> None:
    """Stores of objects answer 403 for a file that is missing. The path of a URL ends before its query."""
    server.statuses = {"/vc/SHA256SUMS": 403}
    server.files["/vc/SHA256SUMS"] = sums()
    server.files["/vc/disk.img?part=a/b"] = server.files["/vc/disk.img"]
    vm_site.done("add image one", f"url={server.url}/vc/disk.img?part=a/b")
    assert server.paths()[0] == "/vc/SHA256SUMS"
    server.requests.clear()
    vm_site.done("add image two", f"url={server.url}/vc/disk.img", f"checksum={sha256(DISK)}")
    assert server.paths() == ["/vc/disk.img"]


def test_what_is_refused(vm_site: Site, server: RangeServer, tmp_path: Path) -> None:
    server.redirects = {"/away": "file:///etc/shadow"}
    url = f"url={server.url}/vc/disk.img"
    for arguments, text in (
        ((), "must supply the path"),
        ((url, "file=/a"), "must supply the path"),
        ((url, "vm=web"), "give vm= or url=, not both"),
        ((url, "disk=vda"), "disk= is for vm=NAME"),
        (("url=file:///etc/shadow",), "is not a URL"),
        (("url=http://a:b@example.org/",), "would see it"),
        ((f"{url},{url[4:]}",), "the same part is given twice"),
        ((f"{url},",), "is not a URL"),
        ((f"url={server.url}/absent",), "answers 404"),
        ((f"url={server.url}/away",), "only http and https are followed"),
        ((url, "format=qcow2"), "it is a raw image, not a qcow2 image"),
    ):
        assert text in vm_site.refused("add image one", *arguments), arguments
    assert left(tmp_path) == []
    vm_site.done("add image one", url)
    server.requests.clear()
    assert "there is an image one already" in vm_site.refused("add image one", url)
    assert server.requests == []
