"""Images that an operator adds: empty ones, clones, imported files; and interrupted imports."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from rocks.core.errors import HostError, IncoherentError, StateError, UserError
from rocks.storage import limits
from rocks.storage.client.importing import Destination, send_file
from rocks.storage.stream import frames as stream_lines
from rocks.storage.stream.pace import Progress
from rocks.storage.stream.transport import client_context
from rocks.storage.wire import requests as wire
from tests.system.imgstorage.image_site import FRONTEND, HOSTS, NAS, ImageSite, Machine, running_site
from tests.system.imgstorage.real_broker import RealBroker

ZVOL, HOST = "golden", HOSTS[0]
SIZE = 3_000_000


@pytest.fixture
def site(tmp_path: Path, real_broker: RealBroker) -> Iterator[ImageSite]:
    with running_site(tmp_path, real_broker) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sparse file of an odd size: data, a hole, data, a hole at the end."""
    path = tmp_path / "image.raw"
    with path.open("wb") as target:
        target.write(os.urandom(100_000))
        target.seek(2_000_000)
        target.write(os.urandom(10_000))
        target.truncate(SIZE)
    return path


def send(
    site: ImageSite,
    file: Path,
    broker: RealBroker,
    tmp_path: Path,
    node: str = FRONTEND,
    listener: Callable[[Progress], object] = lambda progress: None,
) -> str:
    """Make the volume and import the file, as that node."""
    made = site.ask(wire.AddZvol("tank", ZVOL, SIZE, importing=True))
    destination = Destination(
        NAS, "127.0.0.1", site.nas.stream_port, f"tank/{ZVOL}", made["guid"], made["size_bytes"]
    )
    seen: list[Progress] = []

    def listen(progress: Progress) -> None:
        seen.append(progress)
        listener(progress)

    context = client_context(Machine(node, tmp_path / "client", broker).identity)
    with file.open("rb") as content:
        digest = send_file(content, destination, context, listen)
    assert seen[-1].percent == 100.0
    return digest


def test_file_becomes_an_image(site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path) -> None:
    """All of its content, zeros behind its end, and holes that stay holes; then it can be mapped."""
    digest = send(site, file, real_broker, tmp_path)
    whole = file.read_bytes().ljust(site.nas.devices[f"/dev/zvol/tank/{ZVOL}"], b"\0")
    assert digest == hashlib.blake2b(whole).hexdigest()
    assert site.nas.pools.read(f"tank/{ZVOL}", len(whole)) == whole
    assert len(site.nas.pools.content(f"tank/{ZVOL}")) < 12
    site.map_local(ZVOL)


def test_interrupted_import_is_unusable_until_it_is_repeated(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path
) -> None:
    """It cannot be mapped or cloned; a repeated import contains nothing of the first attempt."""
    site.ask(wire.AddZvol("tank", ZVOL, SIZE, importing=True))
    with pytest.raises(StateError, match="import of .* is not complete"):
        site.map(ZVOL)
    with pytest.raises(StateError, match="import of .* is not complete"):
        site.ask(wire.AddZvol("tank", "a-clone", origin=ZVOL))
    site.nas.pools.write(f"tank/{ZVOL}", b"of another file", 1_000_000)
    send(site, file, real_broker, tmp_path)
    assert site.nas.pools.read(f"tank/{ZVOL}", 15, 1_000_000) == bytes(15)
    with pytest.raises(StateError, match="exists already"):
        site.ask(wire.AddZvol("tank", ZVOL, SIZE, importing=True))


def test_an_import_is_listed_until_it_is_complete(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path
) -> None:
    """Its progress while it runs, and a note also when it was broken off, and after a removal that is undone."""
    rows: list[Mapping[str, object]] = []

    def is_listed() -> bool:
        rows.extend(site.ask(wire.ListOperations())["body"])
        return bool(rows)

    def look(progress: Progress) -> None:
        if progress.percent == 100.0:  # the NAS has the first part, and waits for the end
            site.wait_for(is_listed, "listed")

    site.ask(wire.AddZvol("tank", ZVOL, SIZE, importing=True))
    assert "its import is not complete" in str(site.row(ZVOL)["reason"])
    site.ask(wire.DelZvol("tank", ZVOL, grace_seconds=3600))
    site.ask(wire.UndeleteZvol(ZVOL))
    assert "its import is not complete" in str(site.row(ZVOL)["reason"])
    send(site, file, real_broker, tmp_path, listener=look)
    assert {(row["image"], row["phase"], row["action"]) for row in rows} == {(ZVOL, "importing", "importing")}
    assert site.row(ZVOL)["reason"] == "" and site.ask(wire.ListOperations())["body"] == []


def test_only_the_frontend_may_import(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path
) -> None:
    """A host's certificate does not suffice, and nothing is written."""
    with pytest.raises((UserError, HostError), match=f"{HOST}|closed"):
        send(site, file, real_broker, tmp_path, node=HOST)
    assert site.nas.pools.content(f"tank/{ZVOL}") == {}


def test_file_that_changes_while_it_is_sent_is_no_image(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path
) -> None:
    """Both ends agree on what was sent; it is nothing that the file ever was."""
    made = site.ask(wire.AddZvol("tank", ZVOL, SIZE, importing=True))
    place = Destination(
        NAS, "127.0.0.1", site.nas.stream_port, f"tank/{ZVOL}", made["guid"], made["size_bytes"]
    )
    context = client_context(Machine(FRONTEND, tmp_path / "client", real_broker).identity)

    def write_again(progress: Progress) -> None:
        with file.open("r+b") as target:
            target.write(b"later")

    with file.open("rb") as content, pytest.raises(UserError, match="was changed while it was read"):
        send_file(content, place, context, write_again)
    with pytest.raises(StateError, match="import of .* is not complete"):
        site.map(ZVOL)


def test_ends_that_only_read_say_so(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frontend in a long hole, the NAS while it reads back: a silent connection would be ended."""
    monkeypatch.setattr(limits, "ALIVE_SECONDS", -1.0)
    lines: list[object] = []
    send_line = stream_lines.send_line
    monkeypatch.setattr(
        stream_lines, "send_line", lambda writer, fields: (lines.append(fields), send_line(writer, fields))
    )
    send(site, file, real_broker, tmp_path)
    assert any("reading" in str(line) for line in lines)
    assert site.nas.pools.read(f"tank/{ZVOL}", SIZE) == file.read_bytes()


def test_content_that_is_not_what_was_sent_is_detected(
    site: ImageSite, file: Path, real_broker: RealBroker, tmp_path: Path
) -> None:
    """The NAS reads different content back: the volume stays unusable."""
    real_write = site.nas.pools.write

    def write_badly(volume: str, data: bytes, offset: int = 0) -> None:
        real_write(volume, bytes([data[0] ^ 1]) + data[1:], offset)

    site.nas.pools.write = write_badly  # type: ignore[method-assign]
    with pytest.raises(IncoherentError, match="differs from .*, and stays unusable"):
        send(site, file, real_broker, tmp_path)
    site.nas.pools.write = real_write  # type: ignore[method-assign]
    with pytest.raises(StateError, match="import of .* is not complete"):
        site.map(ZVOL)
