"""Images that are brought in several parts: damaged ones, those of two versions, and their checksums."""

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.range_server import RangeServer, Served
from tests.system.commands.conftest import Site
from tests.system.pragma.conftest import COMPUTE, DOCK6, FILES
from tests.system.pragma.test_repository import content, images, synced

DIGESTS = [hashlib.sha256(FILES[f"dock6/compute.gz.{number}"]).hexdigest() for number in (1, 2)]


def test_parts_that_are_damaged_missing_or_incomplete_publish_no_image(local: Site, tmp_path: Path) -> None:
    """Scenario 12; the parts stay as they are."""
    part = tmp_path / "repository/dock6/compute.gz.2"
    good = part.read_bytes()
    for damaged in (good[:100] + 50 * b"\xff" + good[150:], good[:-9], good + b"more", None):
        part.unlink()
        if damaged is not None:
            part.write_bytes(damaged)
        ended = local.rocks("pragma sync repository")
        assert (ended.status, ended.err[:14]) == (3, "Error: dock6: "), damaged
        assert not [name for name in images(local) if name.startswith("dock6-compute")]
        assert not part.exists() if damaged is None else part.read_bytes() == damaged
        part.write_bytes(good)
    assert content(tmp_path, synced(local)["dock6"][1]) == COMPUTE


def with_checksums(*parts: str) -> bytes:
    """The description of dock6 with these SHA-256 of the compute's parts."""
    text = DOCK6
    for number, digest in enumerate(parts, 1):
        text = text.replace(f"<part>compute.gz.{number}", f"<part sha256='{digest}'>compute.gz.{number}")
    return text.encode()


def test_parts_that_change_while_they_are_brought_are_no_image(
    pragma_site: Site, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw parts of two versions have no checksum that fails."""
    adding = import_module("rocks.commands.add.image").Command
    run = adding.run

    def run_and_change(self: Any, params: dict[str, str], args: list[str]) -> None:
        run(self, params, args)
        if args[0].startswith("dock6-compute"):
            server.change("/vc/dock6/compute.gz.2", etag='"new"')

    monkeypatch.setattr(adding, "run", run_and_change)
    ended = pragma_site.rocks("pragma sync repository")
    assert ended.status == 3 and "Error: dock6: the parts of compute.img may be of two versions" in ended.err
    assert not [name for name in images(pragma_site) if name.startswith("dock6-compute")]
    assert content(tmp_path, synced(pragma_site)["dock6"][1]) == COMPUTE


def test_an_image_whose_parts_have_checksums_is_fetched_once_whatever_else_its_server_states(
    pragma_site: Site, server: RangeServer
) -> None:
    """Servers behind one name state an ETag each."""
    server.files["/vc/dock6/vc-in.xml"] = Served(with_checksums(*DIGESTS))
    found = synced(pragma_site)
    for number in (1, 2):
        server.change(f"/vc/dock6/compute.gz.{number}", etag='"edge"')
    server.requests.clear()
    assert synced(pragma_site) == found
    assert not [path for method, path, _ in server.requests if method == "GET" and ".gz." in path]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", "server"])
def test_parts_are_compared_with_their_sha256(
    place: str, pragma_site: Site, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A wrong one is no image; it is compared also where the image was here before anything was stated."""
    served = request.getfixturevalue(place)

    def write(name: str, data: bytes) -> None:
        if place == "local":
            (tmp_path / "repository" / name).write_bytes(data)
        else:
            served.files[f"/vc/{name}"] = Served(data, etag=f'"{hashlib.sha256(data).hexdigest()}"')

    earlier = synced(pragma_site)["dock6"][1]
    write("dock6/vc-in.xml", with_checksums(DIGESTS[0], DIGESTS[0]))
    ended = pragma_site.rocks("pragma sync repository")
    assert (ended.status, ended.err[:14]) == (3, "Error: dock6: ")
    assert f"is {DIGESTS[1]}, not {DIGESTS[0]}" in ended.err
    assert [name for name in images(pragma_site) if name.startswith("dock6-compute")] == [earlier]
    if place == "local":
        assert (tmp_path / "repository/dock6/compute.gz.2").read_bytes() == FILES["dock6/compute.gz.2"]
    write("dock6/vc-in.xml", with_checksums(*DIGESTS))
    found = synced(pragma_site)["dock6"][1]
    assert found != earlier and content(tmp_path, found) == COMPUTE
    write("dock6/vc-in.xml", with_checksums(DIGESTS[0]))
    assert "each part of compute.img must have a sha256" in pragma_site.rocks("pragma sync repository").err
