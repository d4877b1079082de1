"""Images on their way to the site: checksums, limits, names, parts, and what others see of them."""

import base64
import contextlib
import hashlib
import os
import signal
import socket
import subprocess  # noqa: TID251 - mounts a small file system
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nucleus.api.access.throttles import Rate
from nucleus.configuration import Configuration
from nucleus.mirror import audit, identity
from nucleus.mirror.migrate import load_migrations
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from owners.images import image_uploads
from owners.images import records as images
from rocks.core.errors import HostError
from tests.system.nucleus.api.conftest import ISO, MODERN, PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql
from tests.waiting import wait_until

MD5 = hashlib.md5(ISO).hexdigest()
SHA = hashlib.sha256(ISO)
DIGEST = f"sha-256=:{base64.b64encode(SHA.digest()).decode()}:"
CUT = ISO[:0x8050] + (len(ISO) + 1).to_bytes(4, "little") + ISO[0x8054:0x8080] + b"\1\0" + ISO[0x8082:]
"""An image that states one byte more than it has."""

LONG = 1 << 20
OBJECTS = {"Accept": "application/vnd.nucleus.v1+json"}


def send(service: Client, name: str, content: bytes = ISO, who: str = "ann", **headers: str) -> Any:
    """An upload as one form, as the published client sends it."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode() + b'"\r\n\r\n'
    body += content + b"\r\n--x--\r\n"
    sent = {"Content-Type": "multipart/form-data; boundary=x", "md5": MD5, **PROBLEMS, **headers}
    return service.ask(who, "POST", "/v1/image/", body=body, headers=sent)


def send_raw(service: Client, name: str, content: bytes = ISO, who: str = "ann", **more: str) -> Any:
    """An upload as the whole body, as comet and the pages send it."""
    project = more.pop("project", "")
    query = {"name": name, **({"project": project} if project else {})}
    return service.ask(who, "POST", "/v1/image", params=query, body=content, headers={**PROBLEMS, **more})


@contextlib.contextmanager
def beginning(service: Client, name: str, content: bytes = b"") -> Iterator[socket.socket]:
    """An upload of ann's of `LONG` bytes, of which as many have come as have nginx begin a file."""
    head = (
        f"POST /v1/image?name={name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.tokens['ann']}\r\n"
        f"Accept: {PROBLEMS['Accept']}\r\nPrefer: respond-async\r\nContent-Length: {LONG}\r\n\r\n"
    )
    with service.connected(head.encode() + content.ljust(LONG // 4, b"\0")) as raw:
        yield raw


def arriving(configuration: Configuration) -> list[Path]:
    """The files of uploads on their way."""
    return list((Path(configuration.images.folder) / "arriving").iterdir())


def files(configuration: Configuration) -> list[Path]:
    """The files of images."""
    return [one for one in Path(configuration.images.folder).iterdir() if one.name != "arriving"]


def ready(pool: Pool) -> None:
    """As if the workers had put all images into the library."""
    sql(pool, "UPDATE image SET state = 'ready' WHERE sha256 IS NOT NULL")


def test_an_image_is_uploaded_listed_attached_and_deleted(
    service: Client, pool: Pool, configuration: Configuration
) -> None:
    assert send(service, "inst.iso").status_code == 204
    operation = service.get("ann", "/v1/operation").json()[0]
    assert operation["kind"] == "add_image" and operation["image"] == "project/alpha/inst.iso"
    assert service.get("ann", "/v1/image").json() == [], "not before the library has it"
    (file,) = files(configuration)
    assert file.read_bytes() == ISO and file.stat().st_mode & 0o777 == 0o600
    assert send(service, "inst.iso").status_code == 409
    assert file.read_bytes() == ISO
    ready(pool)
    assert service.get("ann", "/v1/image/").json() == ["project/alpha/inst.iso"]
    assert service.get("bob", "/v1/image").json() == []
    (image,) = service.get("ann", "/v1/image", headers=OBJECTS).json()
    assert image["size"] == len(ISO) and image["sha256"] == SHA.hexdigest() and image["uploaded_by"] == "ann"
    sql(pool, """UPDATE project SET limits = '{"images": 1}' WHERE name = 'alpha'""")
    assert send_raw(service, "inst.iso").status_code == 409, "not the limit: it is there"
    assert send(service, "more.iso").status_code == send_raw(service, "more.iso").status_code == 403
    sql(pool, "UPDATE project SET limits = '{}'")
    path = "/v1/cluster/vc2/frontend/attach_iso"
    assert service.ask("ann", "PUT", path, headers=MODERN).status_code == 400, "which image?"
    # the last one is what the published client makes of the list's name
    for name in ("inst.iso", "project/alpha/inst.iso", "public/inst.iso", "public/project/alpha/inst.iso"):
        assert service.ask("ann", "PUT", path, params={"iso_name": name}).status_code == 204
        assert service.get("ann", "/v1/operation").json()[0]["image"] == "project/alpha/inst.iso", name
    stranger = service.ask("bob", "PUT", path.replace("vc2", "vc3"), params={"iso_name": "public/inst.iso"})
    assert stranger.status_code == 404
    asked = {"iso_name": "inst.iso", "nodes": "vm-vc2-[0-1]"}
    many = service.ask("ann", "PUT", "/v1/cluster/vc2/attach_iso", json=asked, headers=MODERN)
    assert many.status_code == 202, many.text
    assert many.json()["image"] == "project/alpha/inst.iso"
    for name in (
        "public/other.iso",
        "project/beta/inst.iso",
        "../../etc/passwd",
        "public/../x.iso",
        "public/project/beta/inst.iso",
        "public/public/inst.iso",
        "public/project/inst.iso",
        "/etc/x",
        "a\0b",
    ):
        answer = service.ask("ann", "PUT", path, params={"iso_name": name}, headers=PROBLEMS)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-image"), name
    sql(pool, "UPDATE node SET iso = 'project/alpha/inst.iso' WHERE name IN ('vc2', 'vm-vc2-0', 'vm-vc2-1')")
    held = service.ask("ann", "DELETE", "/v1/image/project/alpha/inst.iso", headers=MODERN)
    assert held.status_code == 409
    reason = "project/alpha/inst.iso is in the drive of the frontend of vc2 and vm-vc2-[0-1] of vc2"
    assert held.json()["reason"] == reason
    assert held.json()["detail"] == (
        f"{reason}; take it out first: attach_iso with an empty iso_name; a machine that is on keeps it until it is off"
    )
    assert held.json()["remedy"] == {"code": "eject-image", "targets": ["vc2", "vc2 vm-vc2-[0-1]"]}
    sql(pool, "UPDATE node SET iso = NULL, iso_active = IF(name = 'vc2', 'project/alpha/inst.iso', NULL)")
    held = service.ask("ann", "DELETE", "/v1/image/project/alpha/inst.iso", headers=MODERN)
    reason = "was taken out of the drive of the frontend of vc2, where it is in use until the power is off"
    assert (held.status_code, held.json()["detail"]) == (409, f"project/alpha/inst.iso {reason}")
    assert "remedy" not in held.json(), "it was done"
    sql(pool, "UPDATE node SET iso_active = NULL")
    held = service.ask("ann", "DELETE", "/v1/image/project/alpha/inst.iso", headers=MODERN)
    assert (held.status_code, "is being put into a drive" in held.text) == (409, True)
    sql(pool, "UPDATE operation SET state = 'succeeded' WHERE kind = 'attach_iso'")
    assert service.ask("bob", "DELETE", "/v1/image/project/alpha/inst.iso").status_code == 404
    assert service.ask("ann", "DELETE", "/v1/image/project/alpha/inst.iso").status_code == 204
    assert service.get("ann", "/v1/image").json() == []
    removal = service.get("ann", "/v1/operation").json()[0]
    assert (removal["kind"], removal["image"]) == ("remove_image", "project/alpha/inst.iso")


def test_public_is_everybodys_image_before_the_projects_own(service: Client, pool: Pool) -> None:
    for project in ("NULL", "(SELECT id FROM project WHERE name = 'alpha')"):
        columns = "INSERT INTO image (project_id, name, size_bytes, state) VALUES"
        sql(pool, f"{columns} ({project}, 'a.iso', 1, 'ready')")

    def attached(name: str) -> Any:
        path = "/v1/cluster/vc2/frontend/attach_iso"
        answer = service.ask("ann", "PUT", path, params={"iso_name": name}, headers=MODERN)
        return answer.json()["image"] if answer.status_code == 202 else answer.status_code

    assert [attached(name) for name in ("public/a.iso", "a.iso")] == ["public/a.iso", "project/alpha/a.iso"]
    sql(pool, "UPDATE image SET state = 'deleting' WHERE project_id IS NULL")
    assert [attached(name) for name in ("public/a.iso", "a.iso")] == [404, "project/alpha/a.iso"]
    sql(pool, "UPDATE image SET state = IF(project_id IS NULL, 'ready', 'uploading')")
    assert [attached(name) for name in ("public/a.iso", "a.iso")] == ["public/a.iso", 404]


def test_refused_images_leave_nothing(service: Client, pool: Pool, configuration: Configuration) -> None:
    refused = [
        (send(service, "a.iso", md5="0" * 32), 400),
        (send(service, "a.iso", md5="x"), 400),
        (send(service, "a.iso", **{"Content-Digest": "sha-256=:" + "A" * 43 + "=:"}), 400),
        (send(service, "a.iso", ISO[:100], md5=hashlib.md5(ISO[:100]).hexdigest()), 400),
        (send(service, "a.iso", b"", md5=hashlib.md5(b"").hexdigest()), 400),
        (send(service, "a.iso", CUT, md5=hashlib.md5(CUT).hexdigest()), 400),
        (send(service, "../a.iso"), 400),
        (send(service, ".iso"), 400),
        (send(service, "a.img"), 400),
        (send(service, "a.iso", **{"Content-Type": "multipart/form-data"}), 415),
        (send(service, "a.iso", **{"Content-Type": "multipart/form-data; boundary=y"}), 400),
        (send_raw(service, "a.iso", md5="0" * 32), 400),
        (send_raw(service, "a.iso", CUT), 400),
        (send_raw(service, "a.iso", b""), 400),
        (send_raw(service, "a.img"), 400),
        (send_raw(service, "a.iso", project="beta"), 400),
        (send(service, "a.iso", who="root", md5="0" * 32), 400),
        (service.ask("ann", "POST", "/v1/image", body=b"", headers=PROBLEMS), 400),
    ]
    assert [answer.status_code for answer, _ in refused] == [status for _, status in refused]
    assert f"it is cut off: it states {len(CUT) + 1} bytes and has {len(CUT)}" in refused[5][0].text
    assert not files(configuration)
    wait_until(lambda: not arriving(configuration), "nginx removes what was refused")
    with pool.transaction() as session:
        assert session.row("SELECT COUNT(*) FROM image") == (0,)
        project = identity.project_by_name(session, "alpha")
        session.update("project", {"limits": {"image_bytes": len(ISO) - 1}}, id=project.id)
    over = send(service, "a.iso", **MODERN)
    assert over.status_code == 403 and "images and uploads: " in over.text
    assert send(service, "a.iso", who="root").status_code == 204, "operators publish"
    ready(pool)
    assert service.get("bob", "/v1/image").json() == ["public/a.iso"]
    assert service.ask("bob", "DELETE", "/v1/image/public/a.iso").status_code == 403
    sql(pool, "UPDATE image SET uploaded_by = (SELECT id FROM user WHERE username = 'bob')")
    sql(pool, "UPDATE node SET iso = 'public/a.iso' WHERE name LIKE '%vc2'")
    held = service.ask("bob", "DELETE", "/v1/image/public/a.iso", headers=MODERN).json()
    assert held["detail"] == "public/a.iso is in the drive of 1 machine of other projects", "without its name"
    assert "remedy" not in held


def test_the_body_is_the_image(service: Client, pool: Pool, configuration: Configuration) -> None:
    done = send_raw(service, "big.iso", project="ALPHA", **{"Content-Digest": DIGEST}, **MODERN)
    assert done.status_code == 202 and done.json()["kind"] == "add_image", done.text
    assert done.headers["Repr-Digest"] == DIGEST
    assert sql(pool, "SELECT name, sha256, md5 FROM image") == [("big.iso", SHA.hexdigest(), MD5)]
    assert sql(pool, "SELECT target FROM audit ORDER BY seq DESC LIMIT 1") == [("project/alpha/big.iso",)]
    (file,) = files(configuration)
    assert file.read_bytes() == ISO and file.stat().st_mode & 0o777 == 0o600
    assert send_raw(service, "big.iso").json()["code"] == "name-conflict"
    forged = {"X-Nucleus-File": str(file), "X-Nucleus-Number": "1", "X-Nucleus-Length": "9"}
    assert send_raw(service, "more.iso", b"", **forged).status_code == 400, "nginx alone names files"
    assert sql(pool, "SELECT COUNT(*) FROM image") == [(1,)]


def test_a_long_image_of_a_form_is_what_the_form_has(service: Client, configuration: Configuration) -> None:
    """Its bytes move to the begin of the file, over several blocks."""
    image = ISO + bytes(range(256)) * 9000
    assert send(service, "long.iso", image, md5=hashlib.md5(image).hexdigest()).status_code == 204
    (file,) = files(configuration)
    assert file.read_bytes() == image


def test_an_upload_that_breaks_off_leaves_nothing_and_begins_again(
    service: Client, configuration: Configuration
) -> None:
    with beginning(service, "cut.iso"):
        wait_until(lambda: bool(arriving(configuration)), "the file")
        second = send_raw(service, "cut.iso")
        assert (second.status_code, second.json()["code"]) == (409, "request-in-progress")
    wait_until(lambda: not arriving(configuration), "the file is gone")
    wait_until(lambda: not service.application.state.service.arrivals, "the end is known")
    assert send_raw(service, "cut.iso").status_code == 204


def test_a_user_has_four_uploads_at_once_and_their_bytes_count(
    service: Client, pool: Pool, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(3):
            stack.enter_context(beginning(service, f"{number}.iso"))
        wait_until(lambda: len(arriving(configuration)) == 3, "three files")
        sql(pool, f"UPDATE project SET limits = '{{\"image_bytes\": {3 * LONG + len(ISO) - 1}}}'")
        assert send_raw(service, "over.iso").json()["code"] == "quota-exceeded"
        sql(pool, "UPDATE project SET limits = '{}'")
        stack.enter_context(beginning(service, "3.iso"))
        wait_until(lambda: len(arriving(configuration)) == 4, "four files")
        assert "you have 4 uploads" in send_raw(service, "4.iso").json()["detail"]
        monkeypatch.setattr(image_uploads, "_MOST", 4)
        assert "there are 4 uploads already" in send_raw(service, "b.iso", who="bob").json()["detail"]
        monkeypatch.setattr(image_uploads, "_MOST", 16)
        assert send_raw(service, "b.iso", who="bob").status_code == 204
    wait_until(lambda: not arriving(configuration), "all are gone")


def test_a_form_that_none_of_its_senders_projects_has_room_for_is_refused_before_its_body(
    service: Client, pool: Pool
) -> None:
    """Its project is in the body: who is in two projects could fill the disk beyond what either may have."""
    sql(
        pool,
        "INSERT INTO membership SELECT u.id, p.id FROM user u, project p WHERE u.username = 'ann' AND p.name = 'beta'",
    )
    sql(pool, f"UPDATE project SET limits = '{{\"image_bytes\": {LONG - 1}}}'")
    head = (
        f"POST /v1/image HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.tokens['ann']}\r\nmd5: {MD5}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {LONG}\r\n\r\n"
    )
    with service.connected(head.encode()) as raw:
        raw.settimeout(10)
        answer = raw.recv(10_000)
    assert answer.split()[1] in (b"400", b"403") and b"bytes of images" in answer, answer
    sql(pool, "UPDATE project SET limits = '{}' WHERE name = 'beta'")
    with service.connected(head.encode()) as raw, pytest.raises(TimeoutError):
        raw.settimeout(2)
        raw.recv(10_000)


def test_a_full_disk_is_reported_before_the_first_byte(
    service: Client, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what is on its way to it."""
    with beginning(service, "first.iso"):
        wait_until(lambda: bool(arriving(configuration)), "the file")
        left = LONG - LONG // 4  # at least; the file may still grow
        free = SimpleNamespace(free=image_uploads._RESERVE_BYTES + left + len(ISO) - 1)
        monkeypatch.setattr(image_uploads.shutil, "disk_usage", lambda _: free)
        refused = send_raw(service, "a.iso")
        assert refused.status_code == 503 and "has no space for images" in refused.json()["detail"]
        assert len(arriving(configuration)) == 1
    wait_until(lambda: not service.application.state.service.arrivals, "the end is known")
    assert send_raw(service, "a.iso").status_code == 204


def test_a_disk_that_fills_meanwhile_ends_the_upload(service: Client, configuration: Configuration) -> None:
    """nginx cannot store it; nothing stays, and the next one finds the place again."""
    folder = Path(configuration.images.folder) / "arriving"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], check=True)
    try:
        refused = send_raw(service, "a.iso", ISO + bytes(LONG))
        assert refused.status_code == 503 and "its disk is full" in refused.json()["detail"]
        wait_until(lambda: not arriving(configuration), "the file is gone")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    wait_until(lambda: not service.application.state.service.arrivals, "the end is known")
    assert send_raw(service, "a.iso").status_code == 204


def test_files_that_no_image_needs_are_removed_by_the_next_upload(
    service: Client, pool: Pool, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the service was killed before its record; those of 0.1.1 among them."""
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> None:
            raise HostError("the database is away")

        broken.setattr(audit, "record", fail)  # the last statement before the commit
        assert send_raw(service, "late.iso").status_code == 503
    assert len(files(configuration)) == 1
    folder = Path(configuration.images.folder)
    for name in ("7777.iso", "01ARZ3NDEKTSV4RRFFQ69G5FAV.part", "site.iso", "7777"):
        (folder / name).touch()
    assert send_raw(service, "late.iso").status_code == 204
    assert len(files(configuration)) == 6, "an image may be recorded at this moment"
    monkeypatch.setattr(image_uploads, "_SETTLED_SECONDS", -60)
    assert send_raw(service, "next.iso").status_code == 204
    assert sorted(one.name for one in files(configuration) if one.read_bytes() != ISO) == ["7777", "site.iso"]
    assert len(files(configuration)) == 4


def test_what_a_killed_nginx_leaves_is_removed_at_the_next_start(
    configuration: Configuration, pool: Pool, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nucleus.api.nginx._end_service", lambda _: None)  # it is this process
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    with (
        pytest.raises(HostError, match="nginx has ended"),
        started(configuration, pool, people) as service,
        beginning(service, "a.iso"),
    ):
        wait_until(lambda: bool(arriving(configuration)), "the file")
        started_here = [Path(f"/proc/{one}") for one in children.read_text().split()]
        (nginx,) = [int(one.name) for one in started_here if (one / "comm").read_text() == "nginx\n"]
        os.killpg(nginx, signal.SIGKILL)
    assert len(arriving(configuration)) == 1
    with started(configuration, pool, people):
        assert arriving(configuration) == []


def test_an_upgrade_forgets_images_that_came_in_parts_and_were_not_whole(service: Client, pool: Pool) -> None:
    assert send_raw(service, "whole.iso").status_code == send_raw(service, "ready.iso").status_code == 204
    sql(pool, "UPDATE image SET state = 'ready' WHERE name = 'ready.iso'")
    sql(pool, "INSERT INTO image (name, state) VALUES ('half.iso', 'uploading')")
    for statement in dict(load_migrations())[21]:
        sql(pool, statement)
    assert sql(pool, "SELECT name FROM image ORDER BY name") == [("ready.iso",), ("whole.iso",)]


@pytest.mark.parametrize(
    ("statement", "status", "reason"),
    [
        ("DELETE FROM membership", b"400", b"you are no longer in the project"),
        ("UPDATE token SET revoked_at = UTC_TIMESTAMP(3)", b"401", b"your credentials have ended"),
        ("UPDATE token SET scopes = 'read'", b"403", b"needs the scope image"),
    ],
)
def test_who_has_no_right_any_more_when_the_last_byte_comes_adds_no_image(
    service: Client, pool: Pool, configuration: Configuration, statement: str, status: bytes, reason: bytes
) -> None:
    with beginning(service, "late.iso", ISO) as raw:
        wait_until(lambda: bool(arriving(configuration)), "the file")
        sql(pool, statement)
        raw.sendall(bytes(LONG - LONG // 4))
        answer = raw.recv(10_000)
        assert answer.split()[1] == status and reason in answer, answer
    assert sql(pool, "SELECT COUNT(*) FROM image") == [(0,)]
    assert send_raw(service, "late.iso").status_code >= 400, "nor may another one begin"


def test_images_have_a_largest_size(configuration: Configuration, pool: Pool, people: dict[str, str]) -> None:
    small = changed(configuration, "images", most_gb=0)
    with started(small, pool, people) as service:
        answer = send(service, "a.iso", **MODERN)
        assert answer.status_code == 413 and "an image may have 0 GB here, and it has 0.1 GB" in answer.text
        assert send_raw(service, "a.iso").status_code == 413
    assert sql(pool, "SELECT COUNT(*) FROM image") == [(0,)]


def test_a_request_with_a_key_is_done_once(service: Client, pool: Pool, configuration: Configuration) -> None:
    key = {"Idempotency-Key": "k1"}
    first, again = (send(service, "a.iso", **key, **MODERN) for _ in range(2))
    assert first.status_code == again.status_code == 202, first.text
    assert first.json()["kind"] == "add_image" and again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers and again.headers["Idempotency-Replayed"] == "true"
    other = ISO + b"x"
    refused = send(service, "b.iso", other, md5=hashlib.md5(other).hexdigest(), **key, **MODERN)
    assert refused.status_code == 422 and refused.json()["code"] == "key-reused"
    assert len(files(configuration)) == 1
    key = {"Idempotency-Key": "k2", **MODERN}
    parts = [send_raw(service, "c.iso", **key) for _ in range(2)]
    assert [part.status_code for part in parts] == [202, 202] and parts[0].json() == parts[1].json()
    assert send_raw(service, "c.iso", **{"Idempotency-Key": "ä"}).status_code == 400
    assert sql(pool, "SELECT name, sha256 FROM image") == [
        ("a.iso", SHA.hexdigest()), ("c.iso", SHA.hexdigest()),
    ]  # fmt: skip


def test_each_refusal_of_an_upload_is_in_the_audit_log_once(service: Client, pool: Pool) -> None:
    codes = [
        send(service, "b.iso", md5="0" * 32).status_code,
        send(service, "../b.iso").status_code,
        send_raw(service, "../b.iso").status_code,
    ]
    token = service.tokens["ann"].split("_")[1]
    sql(pool, "UPDATE token SET scopes = 'read power' WHERE id = %s", (token,))
    codes += [send(service, "b.iso").status_code, send_raw(service, "b.iso").status_code]
    assert codes == [400, 400, 400, 403, 403]
    rows = sql(
        pool, "SELECT actor, action, target, outcome FROM audit WHERE outcome <> 'accepted' ORDER BY seq"
    )
    assert {row[:3] for row in rows} == {("ann", "upload_image", "/v1/image")}
    assert [row[3] for row in rows] == ["invalid-request"] * 3 + ["missing-scope"] * 2
    service.application.state.service.unknown_rate = Rate("requests that are refused", 1 / 3600, 2)
    assert [send_raw(service, "b.iso").status_code for _ in range(3)] == [403, 403, 429]


def test_a_list_says_how_many_nodes_have_an_image(service: Client, pool: Pool) -> None:
    for name in ("a.iso", "A.iso", "b.iso"):
        assert send(service, name).status_code == 204
    ready(pool)
    sql(pool, "UPDATE node SET iso = 'project/alpha/a.iso' WHERE name IN ('vc2', 'vm-vc2-0', 'vm-vc3-0')")
    sql(pool, "UPDATE node SET iso_active = 'project/alpha/a.iso' WHERE name IN ('vc2', 'vm-vc2-1')")
    sql(pool, "UPDATE node SET iso_active = 'project/alpha/A.iso' WHERE name = 'vm-vc2-0'")
    sql(pool, "UPDATE node SET gone_at = UTC_TIMESTAMP(3) WHERE name = 'vm-vc3-0'")
    listed = service.get("ann", "/v1/image", headers=OBJECTS).json()
    found = {one["name"].rpartition("/")[2]: one["in_use"] for one in listed}
    assert found == {"a.iso": 3, "A.iso": 1, "b.iso": 0}
    with pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        for name, count in found.items():
            one = images.find_image(session, SYSTEM, project.name, name)
            assert one is not None and one.in_use == count, "by either question"
