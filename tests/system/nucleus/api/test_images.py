"""Images on their way to the site: checksums, limits, names, parts, and what others see of them."""

import base64
import hashlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.access.throttles import Rate
from nucleus.configuration import Configuration
from nucleus.mirror import audit, identity
from nucleus.mirror.pool import Pool
from nucleus.records import SYSTEM
from owners.images import records, upload_bytes
from owners.images import records as images
from rocks.core.errors import HostError
from tests.system.nucleus.api.conftest import ISO, MODERN, PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client, Connection
from tests.system.nucleus.conftest import sql

MD5 = hashlib.md5(ISO).hexdigest()
SHA = hashlib.sha256(ISO)
DIGEST = f"sha-256=:{base64.b64encode(SHA.digest()).decode()}:"
CUT = ISO[:0x8050] + (len(ISO) + 1).to_bytes(4, "little") + ISO[0x8054:0x8080] + b"\1\0" + ISO[0x8082:]
"""An image that states one byte more than it has."""

OBJECTS = {"Accept": "application/vnd.nucleus.v1+json"}


def send(service: Client, name: str, content: bytes = ISO, who: str = "ann", **headers: str) -> Any:
    """An upload as one form, as the published client sends it."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode() + b'"\r\n\r\n'
    body += content + b"\r\n--x--\r\n"
    sent = {"Content-Type": "multipart/form-data; boundary=x", "md5": MD5, **PROBLEMS, **headers}
    return service.ask(who, "POST", "/v1/image/", body=body, headers=sent)


def begin(service: Client, name: str, **more: Any) -> str:
    """Begin an upload of ann's in parts; where it goes on."""
    begun = service.ask("ann", "POST", "/v1/image/upload", json={"name": name, "size": len(ISO), **more})
    assert begun.status_code == 201, begun.text
    return str(begun.headers["Location"]).removeprefix("http://site.example")


def go_on(service: Client, place: str, offset: int, content: bytes | None = None, **more: str) -> Any:
    """Send what follows the offset."""
    body = ISO[offset:] if content is None else content
    headers = {"Upload-Offset": str(offset), **MODERN, **more}
    return service.ask("ann", "PATCH", place, body=body, headers=headers)


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
    (file,) = Path(configuration.images.folder).iterdir()
    assert file.read_bytes() == ISO and file.stat().st_mode & 0o777 == 0o600
    assert send(service, "inst.iso").status_code == 409
    assert file.read_bytes() == ISO
    ready(pool)
    assert service.get("ann", "/v1/image/").json() == ["project/alpha/inst.iso"]
    assert service.get("bob", "/v1/image").json() == []
    (image,) = service.get("ann", "/v1/image", headers=OBJECTS).json()
    assert image["size"] == len(ISO) and image["sha256"] == SHA.hexdigest() and image["uploaded_by"] == "ann"
    sql(pool, """UPDATE project SET limits = '{"images": 1}' WHERE name = 'alpha'""")
    assert send(service, "inst.iso").status_code == 409, "not the limit: it is there"
    assert send(service, "more.iso").status_code == 403
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
        (send(service, "a.iso", **{"Content-Type": "application/json"}), 415),
        (send(service, "a.iso", **{"Content-Type": "multipart/form-data; boundary=y"}), 400),
        (send(service, "a.iso", who="root", md5="0" * 32), 400),
        (service.ask("ann", "POST", "/v1/image", body=b"", headers=PROBLEMS), 400),
    ]
    assert [answer.status_code for answer, _ in refused] == [status for _, status in refused]
    assert f"it is cut off: it states {len(CUT) + 1} bytes and has {len(CUT)}" in refused[5][0].text
    assert not list(Path(configuration.images.folder).glob("*"))
    with pool.transaction() as session:
        assert session.row("SELECT COUNT(*) FROM image") == (0,)
        project = identity.project_by_name(session, "alpha")
        session.update("project", {"limits": {"image_bytes": len(ISO) - 1}}, id=project.id)
    over = send(service, "a.iso", **MODERN)
    assert over.status_code == 403 and "images and unfinished uploads of the last day: " in over.text
    assert send(service, "a.iso", who="root").status_code == 204, "operators publish"
    ready(pool)
    assert service.get("bob", "/v1/image").json() == ["public/a.iso"]
    assert service.ask("bob", "DELETE", "/v1/image/public/a.iso").status_code == 403
    sql(pool, "UPDATE image SET uploaded_by = (SELECT id FROM user WHERE username = 'bob')")
    sql(pool, "UPDATE node SET iso = 'public/a.iso' WHERE name LIKE '%vc2'")
    held = service.ask("bob", "DELETE", "/v1/image/public/a.iso", headers=MODERN).json()
    assert held["detail"] == "public/a.iso is in the drive of 1 machine of other projects", "without its name"
    assert "remedy" not in held


def test_an_upload_is_continued_where_it_ended(service: Client, pool: Pool) -> None:
    place = begin(service, "big.iso", sha256=SHA.hexdigest(), project="ALPHA")
    assert sql(pool, "SELECT target FROM audit ORDER BY seq DESC LIMIT 1") == [("project/alpha/big.iso",)]
    assert service.get("bob", place).status_code == 404
    half = go_on(service, place, 0, ISO[:20_000])
    assert half.status_code == 204 and half.headers["Upload-Offset"] == "20000"
    wrong = go_on(service, place, 5)
    assert wrong.status_code == 409 and wrong.headers["Upload-Offset"] == "20000"
    assert service.get("ann", place).json()["offset"] == 20_000
    assert go_on(service, place, 20_000, ISO[20_000:] + b"more").status_code == 413
    done = go_on(service, place, service.get("ann", place).json()["offset"])
    assert done.status_code == 202 and done.json()["kind"] == "add_image", done.text
    assert service.get("ann", place).status_code == 404
    again = service.ask(
        "ann", "POST", "/v1/image/upload", json={"name": "big.iso", "size": 9}, headers=MODERN
    )
    assert again.status_code == 409
    other = service.ask("ann", "POST", "/v1/image/upload", json={"name": "other.iso", "size": 9}).json()
    assert service.ask("ann", "DELETE", f"/v1/image/upload/{other['id']}").status_code == 204
    assert sql(pool, "SELECT name FROM image") == [("big.iso",)]


def test_the_last_part_states_the_checksum_of_the_whole_image(service: Client, pool: Pool) -> None:
    for digest, status in (("A" * 43 + "=", 400), ("", 400), (base64.b64encode(SHA.digest()).decode(), 202)):
        place, stated = begin(service, "a.iso"), {"Upload-Digest": f"sha-256=:{digest}:"}
        assert go_on(service, place, 0, ISO[:20_000]).status_code == 204
        done = go_on(service, place, 20_000, **stated)
        assert (done.status_code, "SHA-256" in done.text) == (status, status == 400 and bool(digest)), (
            done.text
        )
        if not digest:
            assert service.ask("ann", "DELETE", place).status_code == 204
    assert sql(pool, "SELECT sha256 FROM image") == [(SHA.hexdigest(),)]


def test_an_upload_whose_last_step_fails_is_finished_by_the_next_request(
    service: Client, pool: Pool, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = begin(service, "late.iso")
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> None:
            raise HostError("the database is away")

        broken.setattr(audit, "record", fail)  # the last statement before the commit
        assert go_on(service, place, 0).status_code == 503
    assert service.get("ann", place).json()["offset"] == len(ISO)
    assert go_on(service, place, len(ISO)).status_code == 202
    folder = Path(configuration.images.folder)
    (file,) = folder.iterdir()
    assert file.suffix == ".iso" and file.read_bytes() == ISO
    for name in ("7777.iso", "01ARZ3NDEKTSV4RRFFQ69G5FAV.part", "site.iso", "7777"):
        (folder / name).touch()
    service.ask("ann", "POST", "/v1/image/upload", json={"name": "next.iso", "size": 9})
    assert {one.name for one in folder.iterdir()} == {file.name, "site.iso", "7777"}


def test_a_connection_that_ends_leaves_what_came(service: Client) -> None:
    """A client that is killed: the next one goes on at the offset that the service states."""
    place = begin(service, "cut.iso")
    head = f"PATCH {place} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.tokens['ann']}\r\n"
    head += f"Upload-Offset: 0\r\nContent-Length: {len(ISO)}\r\n\r\n"
    with service.connected(head.encode() + ISO[:10_000]):
        pass
    for _ in range(600):
        done = go_on(service, place, service.get("ann", place).json()["offset"])
        if done.status_code == 202:
            break
        assert done.status_code == 409, done.text  # the first one has not ended yet
    else:
        raise AssertionError(done.text)


def test_images_have_a_largest_size(configuration: Configuration, pool: Pool, people: dict[str, str]) -> None:
    small = changed(configuration, "images", most_gb=0)
    with started(small, pool, people) as service:
        answer = send(service, "a.iso", **MODERN)
        assert (
            answer.status_code == 413 and "an image may have 0 GB here, and a.iso has 0.1 GB" in answer.text
        )
        answer = service.ask(
            "ann", "POST", "/v1/image/upload", json={"name": "a.iso", "size": 10}, headers=MODERN
        )
        assert answer.status_code == 413
    with pool.transaction() as session:
        assert records.old_uploads(session) == [] and session.row("SELECT COUNT(*) FROM image") == (0,)


def test_a_form_that_never_comes_is_ended(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_bytes, "_SILENCE_SECONDS", 0.5)
    with closing(Connection(service.path)) as connection:
        connection.putrequest("POST", "/v1/image")
        connection.putheader("Authorization", f"Bearer {service.tokens['ann']}")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("md5", MD5)
        connection.putheader("Content-Length", "100")
        connection.endheaders()
        assert connection.getresponse().status == 400, "408 for clients that know it"


def test_a_request_with_a_key_is_done_once(service: Client, pool: Pool, configuration: Configuration) -> None:
    key = {"Idempotency-Key": "k1"}
    first, again = (send(service, "a.iso", **key, **MODERN) for _ in range(2))
    assert first.status_code == again.status_code == 202, first.text
    assert first.json()["kind"] == "add_image" and again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers and again.headers["Idempotency-Replayed"] == "true"
    other = ISO + b"x"
    refused = send(service, "b.iso", other, md5=hashlib.md5(other).hexdigest(), **key, **MODERN)
    assert refused.status_code == 422 and refused.json()["code"] == "key-reused"
    assert len(list(Path(configuration.images.folder).iterdir())) == 1
    place = begin(service, "c.iso")
    headers = {"Idempotency-Key": "k2", "Upload-Offset": "0", **MODERN}
    parts = [service.ask("ann", "PATCH", place, body=ISO, headers=headers) for _ in range(2)]
    assert [part.status_code for part in parts] == [202, 202] and parts[0].json() == parts[1].json()
    wrong = service.ask("ann", "PATCH", place, body=ISO, headers={**headers, "Idempotency-Key": "ä"})
    assert wrong.status_code == 400
    assert sql(pool, "SELECT name, sha256 FROM image") == [
        ("a.iso", SHA.hexdigest()), ("c.iso", SHA.hexdigest()),
    ]  # fmt: skip


def test_each_refusal_of_an_upload_is_in_the_audit_log_once(service: Client, pool: Pool) -> None:
    place = begin(service, "a.iso")
    unknown = place[:-1] + ("0" if place[-1] != "0" else "1")
    codes = [
        send(service, "b.iso", md5="0" * 32).status_code,
        send(service, "../b.iso").status_code,
        go_on(service, place, 5).status_code,
        go_on(service, unknown, 0).status_code,
    ]
    token = service.tokens["ann"].split("_")[1]
    sql(pool, "UPDATE token SET scopes = 'read power' WHERE id = %s", (token,))
    codes += [send(service, "b.iso").status_code, go_on(service, place, 0).status_code]
    assert codes == [400, 400, 409, 404, 403, 403]
    rows = sql(
        pool, "SELECT actor, action, outcome, target FROM audit WHERE outcome <> 'accepted' ORDER BY seq"
    )
    assert [(outcome, target) for _, _, outcome, target in rows] == [
        ("invalid-request", "/v1/image"),
        ("invalid-request", "/v1/image"),
        ("state-conflict", place),
        ("unknown-upload", unknown),
        ("missing-scope", "/v1/image"),
        ("missing-scope", place),
    ]
    assert {row[:2] for row in rows} == {("ann", "upload_image")}
    service.application.state.service.unknown_rate = Rate("requests that are refused", 1 / 3600, 2)
    assert [go_on(service, unknown, 0).status_code for _ in range(3)] == [403, 403, 429]


def test_a_part_whose_place_was_read_before_another_one_ended_removes_nothing(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, between = begin(service, "twice.iso"), []
    real = upload_bytes.Receiver.open

    def late(self: upload_bytes.Receiver, check: Any) -> None:
        if not between:
            between.append(0)
            between.append(go_on(service, place, 0, ISO[:20_000]).status_code)
        real(self, check)

    monkeypatch.setattr(upload_bytes.Receiver, "open", late)
    refused = go_on(service, place, 0, ISO[:10])
    assert between == [0, 204] and refused.status_code == 409
    assert refused.headers["Upload-Offset"] == "20000"
    assert go_on(service, place, 20_000).status_code == 202


def test_who_has_left_the_project_adds_no_image_to_it(service: Client, pool: Pool) -> None:
    place = begin(service, "late.iso")
    assert go_on(service, place, 0, ISO[:10]).status_code == 204
    sql(pool, "DELETE FROM membership WHERE user_id = (SELECT id FROM user WHERE username = 'ann')")
    assert go_on(service, place, 10).status_code == 404
    assert [service.ask("ann", one, place).status_code for one in ("GET", "DELETE")] == [404, 404]
    assert sql(pool, "SELECT state FROM image") == [("uploading",)]


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
