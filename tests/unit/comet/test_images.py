"""Commands of images against a small server."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.nucleus_server import answer
from tests.unit.comet.conftest import ISO, Comet, sent


def test_images(comet: Comet, tmp_path: Path) -> None:
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO + b"\r\n--CD001" * 300_000)
    assert comet("iso", "upload", str(image), "--wait").out == "inst.iso is in the library\n"
    assert comet("image", "list").out == "1: project/alpha/inst.iso\n2: debian.iso\n"
    assert comet("iso", "upload", str(image)).status == 5
    assert comet("iso", "upload", str(image), "--isoname=cached.iso", "--cached").status == 2
    assert comet("iso", "upload", str(image), "--imagename=other.iso", "--project=alpha").status == 0
    assert comet("iso", "upload", str(image), "--isoname=../x.iso").status == 2
    for absent in ("none.iso", "none"):
        refused = comet("iso", "upload", str(tmp_path / absent))
        assert refused.status == 2 and f"{tmp_path / absent} cannot be read: No such file" in refused.err
    assert comet("iso", "upload", str(tmp_path), "--isoname=x.iso").status == 2
    (tmp_path / "empty.iso").touch()
    assert comet("iso", "upload", str(tmp_path / "empty.iso")).status == 2
    assert (
        comet("iso", "attach", "inst.iso", "vc2").out
        == "vc2: project/alpha/inst.iso is being put into its drive\n"
    )
    printed = comet("iso", "attach", "inst.iso", "vc2", "--wait").out
    assert printed == "vc2: project/alpha/inst.iso from the next power-on\n"
    assert comet.server.clusters[0]["frontend"]["iso"] == "project/alpha/inst.iso"
    # as the published client counts: `cm comet iso attach 6` of its tutorial is the sixth
    assert [(it["index"], it["name"]) for it in json.loads(comet("iso", "list", "--format=json").out)] == [
        (1, "project/alpha/inst.iso"),
        (2, "project/alpha/other.iso"),
        (3, "debian.iso"),
    ]
    for typed, drive in (("3", "public/debian.iso"), ("01", "project/alpha/inst.iso")):
        assert comet("iso", "attach", typed, "vc2").status == 0
        assert comet.server.clusters[0]["frontend"]["iso"] == drive
    for typed in ("0", "4", "00"):
        refused = comet("iso", "attach", typed, "vc2")
        assert refused.err == (
            f"there is no image {typed} in the list: its numbers are 1 to 3. List them: comet iso list\n"
        )
        assert refused.status == 4
    for line in (("iso", "attach", "9" * 5000, "vc2"), ("power", "off", "vc2", "9" * 5000)):
        assert comet(*line).status == 2, line[0]
    assert comet.server.clusters[0]["frontend"]["iso"] == "project/alpha/inst.iso"
    comet.server.images.append("public/inst.iso")
    assert comet("iso", "attach", "inst.iso", "vc2").status == 2
    assert comet("iso", "detach", "vc2").status == 0
    assert comet.server.clusters[0]["frontend"]["iso"] is None


def test_an_image_is_deleted_when_no_machine_has_it(comet: Comet) -> None:
    comet.server.images += ["project/alpha/inst.iso", "public/a.iso"]
    comet.server.clusters[0]["frontend"]["iso"] = "public/a.iso"
    held = comet("iso", "delete", "a.iso", "--yes")
    assert held.status == 5
    assert held.err == (
        "public/a.iso is in the drive of vc2. Take it out first: comet iso detach vc2,"
        " comet iso detach vc2 'vm-vc2-[0-1]'. A machine that is on keeps it until it is off\n"
    )
    assert comet("iso", "delete", "inst.iso").status == 2, "nobody can answer"
    assert comet("iso", "delete", "inst.iso", terminal="n\n").status == 2
    assert len(comet.server.images) == 3
    asked = comet("iso", "delete", "inst.iso", terminal="y\n")
    assert asked.out == "project/alpha/inst.iso is being deleted\n"
    assert "[y/N]" in asked.err
    assert comet("iso", "delete", "debian.iso", "--yes", "--wait").out == "debian.iso is deleted\n"
    assert comet.server.images == ["public/a.iso"]
    assert comet("iso", "delete", "none.iso", "--yes").status == 4


@pytest.mark.parametrize("is_done", [False, True])
def test_an_upload_that_breaks_off_begins_again(comet: Comet, tmp_path: Path, is_done: bool) -> None:
    """Where it was stored, and its answer is lost, it gets that answer."""
    comet.patch.setattr("comet.client.uploads.time.sleep", lambda seconds: None)
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO + bytes(range(250)) * 10_000)
    broken: list[str] = []

    def lose(handler: Any) -> None:
        broken.append(handler.headers["Idempotency-Key"])
        if len(broken) == 3:
            del comet.server.answers["/image?"]
            answer(502, b"<html>")(handler)
            return
        if is_done and len(broken) == 1:
            comet.server.replayed[broken[0]] = comet.server.add_image("inst.iso", "alpha", image.read_bytes())
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    comet.server.answers["/image?"] = lose
    uploaded = comet("iso", "upload", str(image))
    assert uploaded.status == 0, uploaded.err
    assert len(broken) == 3 and len(set(broken)) == 1
    assert comet.server.images.count("project/alpha/inst.iso") == 1


def test_an_upload_whose_server_stays_away_says_what_to_type(comet: Comet, tmp_path: Path) -> None:
    pauses = list[float]()
    comet.patch.setattr("comet.client.uploads.time.sleep", pauses.append)
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO)
    comet.server.answers["/image?"] = answer(502, b"<html>")
    ended = comet("iso", "upload", str(image))
    assert ended.status == 6 and "Repeat the same command after a minute" in ended.err
    assert 60 < sum(pauses) < 130


def test_other_bytes_than_were_sent_are_no_success(comet: Comet, tmp_path: Path) -> None:
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO)
    comet.server.answers["/image?"] = answer(202, b"{}", Repr_Digest=f"sha-256=:{'A' * 43}=:")
    refused = comet("iso", "upload", str(image))
    assert refused.status == 5 and "stored other bytes than were sent: delete it" in refused.err


def test_who_uploads_more_than_a_gib_reads_that_it_would_begin_again(comet: Comet, tmp_path: Path) -> None:
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO)
    assert "begins again" not in comet("iso", "upload", str(image)).err
    with image.open("r+b") as file:
        file.truncate((1 << 30) + 1)
    comet.server.answers["/image?"] = answer(413, b"")
    printed = comet("iso", "upload", str(image), "--isoname=b.iso").err
    assert printed.startswith(f"{image} has 1.1 GB: an upload that breaks off begins again")


def test_what_is_no_iso_is_not_sent(comet: Comet, tmp_path: Path) -> None:
    """The server looks at its mark when all of it has come: of 2 GB nothing is sent in vain."""
    image = tmp_path / "inst.iso"
    image.write_bytes(bytes(100_000))
    refused = comet("iso", "upload", str(image))
    assert (refused.status, refused.err) == (
        2, f"{image} is no ISO image (ISO 9660): nothing was sent; choose another file\n"
    )  # fmt: skip
    assert sent(comet.server, "POST") == []


def test_an_image_that_is_cut_off_is_not_sent(comet: Comet, tmp_path: Path) -> None:
    image, stated = tmp_path / "inst.iso", bytearray(ISO.ljust(184 * 2048, b"\0"))
    stated[0x8050:0x8054], stated[0x8080:0x8082] = (184).to_bytes(4, "little"), (2048).to_bytes(2, "little")
    image.write_bytes(stated[:200_000])
    refused = comet("iso", "upload", str(image))
    assert (refused.status, refused.err) == (
        2, f"{image} is cut off: it states 376832 bytes and has 200000; nothing was sent; get it again\n"
    )  # fmt: skip
    assert sent(comet.server, "POST") == []
    image.write_bytes(stated)
    assert comet("iso", "upload", str(image)).status == 0


def test_an_image_that_is_too_large_is_refused_before_it_is_read(comet: Comet, tmp_path: Path) -> None:
    image = tmp_path / "inst.iso"
    image.write_bytes(ISO)
    with image.open("r+b") as file:
        file.truncate(1 << 40)  # it would be read for an hour
    refusal = b'{"detail": "an image may have 20 GB here", "code": "too-large", "status": 413}'
    comet.server.answers["/image?"] = answer(413, refusal, Content_Type="application/problem+json")
    refused = comet("iso", "upload", str(image))
    assert refused.status == 5 and refused.err.endswith("\nan image may have 20 GB here\n")


def test_a_misspelled_image_is_named_and_an_empty_list_says_so(comet: Comet) -> None:
    comet.server.images.clear()
    assert "there is no image for your drives" in comet("iso", "list").err
    comet.server.images += ["public/str-debian.iso"]
    refused = comet("iso", "attach", "str-debain.iso", "vc2")
    assert (refused.status, "Did you mean: str-debian.iso?" in refused.err) == (4, True), refused.err
