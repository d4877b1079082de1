"""`rocks pragma list repository` and `sync repository`."""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.range_server import RangeServer, Served
from tests.system.commands.conftest import Site
from tests.system.pragma.conftest import COMPUTE, DOCK6, FILES, FRONTEND, KEY
from tests.unit.pragma.samples import TALK_VOLUMES


def images(site: Site) -> list[str]:
    return [image["name"] for image in json.loads(site.done("list image json=yes") or "[]")]


def content(tmp_path: Path, image: str) -> bytes:
    return (tmp_path / "library" / f"{image}.img").read_bytes()


def synced(site: Site) -> dict[str, list[str]]:
    """Cluster → its images, of a sync; nothing but images that are replaced is noted."""
    ended = site.rocks("pragma sync repository")
    assert ended.status == 0 and all(" is replaced; " in line for line in ended.err.splitlines()), ended
    lines = ended.out.splitlines()
    return {line.partition(": ")[0]: line.partition(": ")[2].split() for line in lines}


def test_a_local_repository(local: Site, tmp_path: Path) -> None:
    assert local.done("pragma list repository") == "VIRTUAL IMAGE\nalone:       \ndock6:       \n"
    found = synced(local)
    assert content(tmp_path, found["dock6"][0]) == FRONTEND
    assert content(tmp_path, found["dock6"][1]) == COMPUTE
    assert sorted(images(local)) == sorted([*found["dock6"], *found["alone"]])
    assert synced(local) == found
    (tmp_path / "repository/dock6/frontend.img").write_bytes(FRONTEND[::-1])
    changed = synced(local)
    assert changed["dock6"][0] != found["dock6"][0]
    assert changed["dock6"][1] == found["dock6"][1]
    assert found["dock6"][0] in images(local)


def test_a_cluster_that_fails_stops_no_other(local: Site, tmp_path: Path) -> None:
    path = tmp_path / "repository/dock6/vc-in.xml"
    for damaged, reason in (
        (DOCK6.replace("</vc>", ""), "not well-formed"),
        (
            DOCK6.replace("<vc ", "<vc " + " ".join(f"a{number}=''" for number in range(2_000)) + " "),
            "more than 16384 bytes",
        ),
        (TALK_VOLUMES, "pool='pragma'"),
    ):
        path.write_text(damaged)
        ended = local.rocks("pragma sync repository")
        assert ended.status == 3
        assert ended.err.startswith("Error: dock6: ")
        assert reason in ended.err
        assert ended.out.startswith("alone: alone-frontend-")


def test_a_description_that_does_not_fit_into_memory_is_refused(local: Site, tmp_path: Path) -> None:
    os.truncate(tmp_path / "repository/dock6/vc-in.xml", 1 << 42)
    assert "more than 16384 bytes" in local.refused("pragma boot dock6 0", status=2)


def test_a_site_without_a_list_reads_what_names_one(local: Site, tmp_path: Path) -> None:
    (tmp_path / "repository/vcdb.txt").unlink()
    message = local.refused("pragma list repository")
    assert "rocks set attr pragma_repository FOLDER names another" in message
    assert "rocks set attr pragma_repository_url URL a web server's" in message


def test_a_list_that_does_not_fit_into_memory_is_refused(local: Site, tmp_path: Path) -> None:
    os.truncate(tmp_path / "repository/vcdb.txt", 1 << 42)
    assert "vcdb.txt has more than 1048576 bytes" in local.refused("pragma list repository")


@pytest.mark.parametrize("name", ["vcdb.txt", "dock6/vc-in.xml"])
def test_a_pipe_or_device_in_the_place_of_a_file_is_not_read(local: Site, tmp_path: Path, name: str) -> None:
    """Nobody writes to the pipe: who reads it waits for ever."""
    file = tmp_path / "repository" / name
    file.unlink()
    file.symlink_to("/dev/zero")
    assert f"{file} is not a plain file" in local.refused("pragma boot dock6 0")
    file.unlink()
    os.mkfifo(file)
    assert f"{file} is not a plain file" in local.refused("pragma boot dock6 0")


def test_a_log_has_what_was_brought(local: Site, tmp_path: Path) -> None:
    (tmp_path / "repository/dock6/vc-in.xml").write_text("<vc")
    log = tmp_path / "logs/sync.log"
    ended = local.rocks("pragma sync repository loglevel=info", f"logfile={log}")
    assert ended.status == 3
    written = [line[20:] for line in log.read_text().splitlines()]
    assert written == [f"sync of {tmp_path}/repository", *ended.out.splitlines(), *ended.err.splitlines()]
    assert "loglevel must be DEBUG, INFO" in local.refused("pragma sync repository loglevel=all")
    (tmp_path / "repository/vcdb.txt").write_text("dock6\n")
    refused = local.refused("pragma sync repository", f"logfile={log}")
    assert "is not NAME,PATH" in refused and "is not NAME,PATH" in log.read_text()


def test_a_log_is_where_the_command_is_typed(
    local: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the second generation, and as `key=`."""
    monkeypatch.chdir(tmp_path)
    local.done("pragma sync repository logfile=sync.log")
    assert f"sync of {tmp_path}/repository" in (tmp_path / "sync.log").read_text()


def test_absolute_paths_of_a_local_list(local: Site, tmp_path: Path) -> None:
    path = tmp_path / "repository/alone/vc-in.xml"
    (tmp_path / "repository/vcdb.txt").write_text(f"alone,{path}\n")
    assert list(synced(local)) == ["alone"]


def test_a_repository_of_a_web_server_is_fetched_once(
    pragma_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    assert "rocks pragma sync repository" in pragma_site.refused("pragma list repository")
    found = synced(pragma_site)
    assert content(tmp_path, found["dock6"][1]) == COMPUTE
    assert pragma_site.done("pragma list repository").split() == ["VIRTUAL", "IMAGE", "alone:", "dock6:"]
    assert (tmp_path / "repository/dock6/vc-in.xml").read_text() == DOCK6
    server.requests.clear()
    assert synced(pragma_site) == found
    assert {path for method, path, _ in server.requests if method == "GET"} == {
        f"/vc/{name}" for name in FILES if name.endswith((".xml", ".txt"))
    }
    server.files["/vc/dock6/frontend.img"] = Served(FRONTEND[::-1], etag='"new"')
    old = found["dock6"][0]
    ended = pragma_site.rocks("pragma sync repository")
    assert ended.err == f"dock6: {old} is replaced; when no machine needs it: rocks remove image {old}\n"
    changed = synced(pragma_site)
    assert content(tmp_path, changed["dock6"][0]) == FRONTEND[::-1]
    assert content(tmp_path, old) == FRONTEND


def test_a_copy_of_a_web_server_without_its_url_says_what_is_missing(
    pragma_site: Site, server: RangeServer
) -> None:
    synced(pragma_site)
    pragma_site.done("remove attr pragma_repository_url")
    for command in ("pragma sync repository", "pragma boot dock6 0"):
        error = pragma_site.rocks(command).err
        assert (
            "copy of a web server's: rocks set attr pragma_repository_url URL, or replace vcdb.txt" in error
        )


def test_an_interrupted_sync_leaves_what_is_here_and_continues(
    pragma_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    """Scenario 13, with the one above."""
    server.change("/vc/dock6/compute.gz.2", stop_after=10)
    ended = pragma_site.rocks("pragma sync repository")
    assert ended.status == 3
    assert ended.err.startswith("Error: dock6: ")
    assert "repeat the command, which continues" in ended.err
    assert ended.out.startswith("alone: alone-frontend-")
    assert pragma_site.done("pragma list repository").split() == ["VIRTUAL", "IMAGE", "alone:", "dock6:"]
    assert "rocks pragma sync repository" in pragma_site.refused("pragma boot dock6 1")
    assert not (tmp_path / "repository/dock6/vc-in.xml").exists()
    server.change("/vc/dock6/compute.gz.2", stop_after=None)
    server.requests.clear()
    synced(pragma_site)
    got = {path: headers for method, path, headers in server.requests if method == "GET"}
    assert "/vc/dock6/frontend.img" not in got
    assert got["/vc/dock6/compute.gz.2"].get("Range") == "bytes=10-"


def test_lists_and_descriptions_that_are_refused(
    pragma_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    for text, part in (
        (b"dock6,dock6/vc-in.xml\ndock6,x.xml\n", "line 2 of"),
        (b"dock6\n", "is not NAME,PATH"),
        (b"../x,a.xml\n", "is not NAME,PATH"),
        (b"dock6,../../etc/shadow\n", "has no valid path"),
        (b"dock6,a\0b\n", "has no valid path"),
        (b"dock6,./.\n", "has no valid path"),
        (b"dock6,vcdb.txt/vc-in.xml\n", "has no valid path"),
        (b"dock6,/etc/shadow\n", "must be below the URL"),
        (b"dock6,absent/vc-in.xml\n", "answers 404"),
        (b"\x1b[2J,\xff\n", "is not NAME,PATH"),
        (1024 * 1025 * b"#", "more than 1048576 bytes"),
    ):
        server.files["/vc/vcdb.txt"] = Served(text)
        assert part in pragma_site.refused("pragma sync repository"), text[:80]
    server.files["/vc/vcdb.txt"] = Served(b"dock6,dock6/vc-in.xml\n")
    server.files["/vc/dock6/vc-in.xml"] = Served(b"<!DOCTYPE vc><vc/>")
    assert "document type" in pragma_site.refused("pragma sync repository", status=2)
    server.redirects = {"/vc/vcdb.txt": "file:///etc/shadow"}
    assert "only http and https" in pragma_site.refused("pragma sync repository")
    assert images(pragma_site) == []
    assert not (tmp_path / "repository").exists()


def test_a_list_without_clusters_changes_nothing(pragma_site: Site, server: RangeServer) -> None:
    """As servers answer that fail; the second one is cut off within its head."""
    synced(pragma_site)
    before = pragma_site.done("pragma list repository")
    for answer, text in (
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answers 204"),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\nConte", "names no cluster"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n# ours\n\n", "names no cluster"),
    ):
        server.raw["/vc/vcdb.txt"] = answer
        assert text in pragma_site.refused("pragma sync repository"), answer
        assert pragma_site.done("pragma list repository") == before


def test_a_list_of_a_web_server_names_no_other_file_of_this_machine(
    pragma_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    """The folder itself would have its file of images beside it, and an absolute path is any file."""
    (tmp_path / "other.xml").write_text(DOCK6)
    server.files["/vc/vcdb.txt"] = Served(f"dock6,{tmp_path}/other.xml\nalone,alone/vc-in.xml\n".encode())
    ended = pragma_site.rocks("pragma sync repository")
    assert ended.status == 3 and "must be below the URL" in ended.err
    assert pragma_site.done("pragma list repository").split() == ["VIRTUAL", "IMAGE", "alone:"]
    server.files["/vc/vcdb.txt"] = Served(b"alone,.\n")
    server.files["/vc/."] = server.files["/vc/"] = Served(FILES["alone/vc-in.xml"])
    server.files["/vc/only.img"] = Served(FILES["alone/only.img"])
    assert "has no valid path" in pragma_site.refused("pragma sync repository")
    assert not (tmp_path / ".alone.images.json").exists()


def test_a_cluster_that_fails_at_another_path_stays_at_its_own(
    pragma_site: Site, server: RangeServer, tmp_path: Path
) -> None:
    synced(pragma_site)
    server.files["/vc/vcdb.txt"] = Served(b"dock6,new/vc-in.xml\nalone,alone/vc-in.xml\n")
    ended = pragma_site.rocks("pragma sync repository")
    assert (ended.status, ended.err[:14]) == (3, "Error: dock6: ")
    assert (tmp_path / "repository/vcdb.txt").read_text() == "dock6,dock6/vc-in.xml\nalone,alone/vc-in.xml\n"
    server.files["/vc/new/vc-in.xml"] = Served(DOCK6.encode())
    for name in ("frontend.img", "compute.gz.1", "compute.gz.2"):
        server.files[f"/vc/new/{name}"] = Served(FILES[f"dock6/{name}"])
    synced(pragma_site)
    assert (tmp_path / "repository/vcdb.txt").read_text().startswith("dock6,new/")


def test_a_url_without_a_repository_is_named_with_its_attribute(
    pragma_site: Site, server: RangeServer
) -> None:
    for url, text in (
        (f"{server.url}/absent", "answers 404"),
        (f"{server.url}/vc/vcdb.txt", "answers 404"),
        ("/srv/vc", "is not a URL of http"),
    ):
        pragma_site.set_as_before("pragma_repository_url", url)
        refused = pragma_site.refused("pragma sync repository")
        assert text in refused and refused.endswith("; rocks set attr pragma_repository_url URL")


@pytest.mark.slow
@pytest.mark.parametrize("files", range(3))
def test_a_sync_that_dies_between_its_files_mixes_no_versions(
    pragma_site: Site, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    """It dies after so many files of dock6, of which images and description become others."""
    synced(pragma_site)
    repository = import_module("rocks.commands.pragma._shared.repository")
    write, written = repository._write, []

    def write_or_die(path: Path, data: bytes) -> None:
        if len(written) == files:
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    def boots_new(name: str) -> list[bool]:
        """Whether the description and the image of a boot are the new ones."""
        pragma_site.done(f"pragma boot dock6 0 key={tmp_path / 'key.pub'}")
        (machine,) = json.loads(pragma_site.done(f"list host vm {name} showdisks=yes json=yes"))
        (row,) = json.loads(pragma_site.done(f"list host attr {name} json=yes"))
        image = next(one["value"] for one in row["attr"] if one["attr"] == "vm_image")
        return ["hda,ide" in machine["vm"][0]["disk"], content(tmp_path, image) == FRONTEND[::-1]]

    (tmp_path / "key.pub").write_text(KEY)
    monkeypatch.setattr(import_module("rocks.commands.start.cluster").Command, "run", lambda *_: None)
    server.files["/vc/dock6/frontend.img"] = Served(FRONTEND[::-1], etag='"new"')
    on_ide = DOCK6.replace("dev='vda' bus='virtio'", "dev='hda' bus='ide'").encode()
    server.files["/vc/dock6/vc-in.xml"] = Served(on_ide)
    monkeypatch.setattr(repository, "_write", write_or_die)
    pragma_site.rocks("pragma sync repository")
    monkeypatch.setattr(repository, "_write", write)
    assert boots_new("dock") == [files == 2] * 2
    synced(pragma_site)
    assert boots_new("lake") == [True, True]


@pytest.mark.slow
def test_two_syncs_at_once_leave_a_description_with_its_images(
    pragma_site: Site, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins, on a server that has changed again, when the first one has written its first file."""
    synced(pragma_site)
    repository = import_module("rocks.commands.pragma._shared.repository")
    write = repository._write
    second: list[Any] = []

    def serve(bus: str) -> str:
        text = DOCK6.replace("dev='vda' bus='virtio'", f"dev='hda' bus='{bus}'")
        server.files["/vc/dock6/vc-in.xml"] = Served(text.encode())
        return text

    def write_and_sync(path: Path, data: bytes) -> None:
        write(path, data)
        if not second:
            monkeypatch.setattr(repository, "_LOCK_SECONDS", 0.0)
            serve("scsi")
            second.append(None)  # it comes here, too
            second.append(pragma_site.rocks("pragma sync repository"))

    (tmp_path / "key.pub").write_text(KEY)
    boot = f"pragma boot dock6 0 key={tmp_path / 'key.pub'} dry-run=yes"
    monkeypatch.setattr(import_module("rocks.commands.start.cluster").Command, "run", lambda *_: None)
    first = serve("ide")
    monkeypatch.setattr(repository, "_write", write_and_sync)
    pragma_site.done("pragma sync repository")
    assert (tmp_path / "repository/dock6/vc-in.xml").read_text() == first
    pragma_site.done(boot)
    assert second[1].status == 3 and "pragma images dock6" in second[1].err
    synced(pragma_site)
    assert "bus='scsi'" in (tmp_path / "repository/dock6/vc-in.xml").read_text()
    pragma_site.done(boot)
