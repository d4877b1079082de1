"""ISO images on their way here: row 34 of Table 1 (`decorators.route`), and uploads in parts."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.access.authentication import require
from nucleus.api.decorators import changes, done, reads, route
from nucleus.api.etags import json_answer
from nucleus.api.idempotency import answer_before
from nucleus.api.problems import Problem, conflict, invalid
from nucleus.api.quotas import REMEDIES, demand_limit
from nucleus.api.representations import Json
from nucleus.api.service import Call, Change, Known, Reading, accepted, changing, no_content, record_refusal
from nucleus.limits import FIRST_LIMITS, LIMITS
from nucleus.mirror import identity
from nucleus.mirror.columns import same_name
from nucleus.mirror.driver import DuplicateError
from nucleus.records import NewOperation
from owners.images import records
from owners.images import records as images
from owners.images.records import image_usage, public_image_usage
from owners.images.upload_bytes import (
    ImageForm,
    Receiver,
    digests_of,
    is_name_of_ours,
    part_path,
    sha256_of,
    stream_of,
    whole_path,
)
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from nucleus.mirror.pool import Session
    from owners.images.records import Image, Upload

router = APIRouter()

_NAME = re.compile(models.IMAGE_NAME)


def _folder(call: Call) -> Path:
    return Path(call.service.configuration.images.folder)


def _begin(change: Change, name: str, project: str | None, size: int) -> Upload:
    """Reserve a name and the bytes for an upload. Problem when one of them is not to be had."""
    call = change.call
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{name[:140]!r} cannot name an image: letters, digits and . _ + - and .iso at its end",
            [("#/name", "not a name of an image")],
        )
    most_gb = call.service.configuration.images.most_gb
    if size > most_gb * 10**9:
        raise Problem(
            "too-large", f"an image may have {most_gb} GB here, and {name} has {-(-size // 10**8) / 10:g} GB"
        )
    project_id = _project_of(call, project)
    silent = records.silent_upload(change.session, project_id, name, call.caller.user.id)
    if silent is not None and not Receiver.has_open(part_path(_folder(call), silent.id)):
        images.remove_image(change.session, silent.image_id)
    for old in records.old_uploads(change.session):  # they were given up
        images.remove_image(change.session, old.image_id)
    taken = Problem(
        "name-conflict",
        f"there is an image {name} already, or it is being uploaded; delete it, or choose another name; if your"
        " own upload of it was interrupted, repeat it after a minute",
    )
    if records.is_taken(change.session, project_id, name):
        raise taken  # before the limit of images, which one of the same name would not help
    if project_id is None and not call.scope.is_operator:
        demand_public_image_quota(change.session, call.caller.user.id, size)
    demand_image_quota(change.session, project_id, size)
    try:
        upload = records.add_upload(change.session, project_id, name, size, call.caller.user.id)
    except DuplicateError:
        raise taken from None
    names = {number: stored for stored, number in call.caller.projects.items()}
    change.note(images.reference(None if project_id is None else names[project_id], name))
    return upload


def _remove_files(call: Call) -> None:
    """Remove the files that no upload and no image needs any more; what cannot be done now is left to the next one.

    Not in the transaction that removes their records: it may be undone. An upload is recorded before its file exists:
    a file that is seen without a record has lost it.
    """
    folder = _folder(call)
    with suppress(RocksError, OSError):
        files = {one for one in folder.glob("*") if is_name_of_ours(one.name)}
        with call.service.pool.reading() as session:
            parts, unfinished = images.unfinished(session)
        needed = {part_path(folder, one) for one in parts}
        needed |= {whole_path(folder, one) for one in unfinished}
        for file in files - needed:
            file.unlink(missing_ok=True)


def _then_removes_files(handler: Callable[..., Response]) -> Callable[..., Response]:
    """Decorates a handler of `changes` by which files may have lost their records."""

    @wraps(handler)
    def answered(call: Call, **values: Any) -> Response:
        answer = handler(call=call, **values)
        _remove_files(call)
        return answer

    return answered


def _project_of(call: Call, requested: str | None) -> int | None:
    """The project whose members get the image; None = everybody."""
    own = call.caller.projects
    if requested is not None:
        found = [number for name, number in own.items() if same_name(name, requested)]
        if not found:
            raise invalid(f"you are in no project {requested[:64]!r}; `comet ll` shows yours")
        return found[0]
    if call.scope.is_operator or call.service.configuration.images.owners_publish:
        return None
    if len(own) != 1:
        if not own:
            raise invalid("you are in no project; ask the site's operators")
        raise invalid(f"for which project is it? state one of: {', '.join(sorted(own))}")
    return next(iter(own.values()))


@route(
    router,
    "POST /v1/image",
    "upload_image",
    "Upload an image at once",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "project": {"type": "string"},
                            "file": {"type": "string", "format": "binary"},
                        },
                    }
                }
            },
        }
    },
)
async def upload_image(
    call: Known,
    md5: Annotated[str | None, Header(description="hexadecimal; or Content-Digest")] = None,
    content_digest: Annotated[str | None, Header(description="sha-256=:BASE64:")] = None,
) -> Response:
    """A form of a stated length with the part `file`; a part `project` before it names the project."""

    async def receive() -> Response:
        expected = digests_of(md5, content_digest)
        length = call.request.headers.get("content-length", "")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise invalid(
                "the length of the upload is not stated: send it with the header Content-Length, or send the image in"
                " parts (POST /v1/image/upload)"
            )
        begun: list[tuple[Upload, Receiver]] = []
        async with AsyncExitStack() as stack:

            async def take(data: bytes) -> None:
                if not begun:
                    project = form.fields.get("project") or None
                    upload = await run_in_threadpool(_reserve, call, form.filename, project, int(length))
                    stack.push_async_callback(run_in_threadpool, _discard, call, upload)
                    begun.append((upload, await stack.enter_async_context(_receiver(call, upload))))
                await begun[0][1].write(data)

            form = ImageForm(call.request, stream_of(call.request, "send the form again"), take)
            await form.read()
            if not begun:
                raise invalid("the form has no part `file` with the image")
            return await _stored(call, *begun[0], expected)

    return await _admitted(call, receive)


async def _admitted(call: Call, receive: Callable[[], Awaitable[Response]]) -> Response:
    """What `receive` answers, or the same request before; few images of a user are on their way at a time.

    Refusals are recorded.
    """
    try:
        require(call.caller, "image")
        before = await run_in_threadpool(answer_before, call)
        if before is not None:
            return before
        with call.service.uploads.one_more(call.caller.user.id):
            answer = await receive()
    except Problem as problem:
        await run_in_threadpool(record_refusal, call, "upload_image", problem)
        raise
    return await done(call, answer)


@asynccontextmanager
async def _receiver(call: Call, upload: Upload) -> AsyncGenerator[Receiver]:
    """The file of an upload; what came is on the disk at the end of the block."""

    def note(offset: int) -> None:
        with call.service.pool.transaction() as session:
            columns = {"offset_bytes": offset}
            if not session.update("upload", columns, "touched = UTC_TIMESTAMP(3)", id=upload.id):
                raise Problem("unknown-upload", "this upload was removed; begin again")

    path = part_path(_folder(call), upload.id)
    receiver = Receiver(path, upload.offset_bytes, upload.size_bytes, note)
    try:
        await run_in_threadpool(receiver.open, partial(_resume, call, upload.id, upload.offset_bytes))
        yield receiver
    finally:
        await run_in_threadpool(receiver.close)


async def _stored(call: Call, upload: Upload, receiver: Receiver, expected: dict[str, str]) -> Response:
    """Check what came; the answer to a whole image."""
    await run_in_threadpool(receiver.flush)
    try:
        sha256, md5 = await receiver.digests(call.service.hashings.turn(call.caller.user.id))
        for name, value in expected.items():
            found = sha256 if name == "SHA-256" else md5
            if value != found:
                raise invalid(f"the {name} of what came is {found}, not {value}; send the image again")
        return await run_in_threadpool(_finish, call, upload, receiver, sha256, md5)
    except Problem as problem:
        if problem.code == "invalid-request":  # after others the client can send the last part again
            await run_in_threadpool(_discard, call, upload)
        raise


def _reserve(call: Call, name: str, project: str | None, size: int) -> Upload:
    upload = changing(
        call, "image", "upload_image", lambda change: _begin(change, name, project, size), has_key=False
    )
    _remove_files(call)
    return upload


def _discard(call: Call, upload: Upload) -> None:
    """Remove what came, unless it became an image."""
    with suppress(Exception), call.service.pool.transaction() as session:
        if records.find_upload(session, upload.id, upload.user_id) is not None:
            images.remove_image(session, upload.image_id)
    _remove_files(call)


def _finish(call: Call, upload: Upload, receiver: Receiver, sha256: str, md5: str) -> Response:
    """Give what came its name, if it is an ISO image, and have the site's library take it."""
    receiver.demand_iso()
    target = whole_path(_folder(call), upload.image_id)

    def act(change: Change) -> Response:
        images.store_digests(change.session, upload.image_id, receiver.offset, sha256, md5)
        image = images.image_by_id(change.session, upload.image_id)
        if image is None:
            raise Problem("unknown-upload", "this upload was removed; begin again")
        receiver.give_name(target)  # before the workers see the operation
        arguments: dict[str, Any] = {
            "image": image.id, "library_name": image.library_name, "path": str(target), "sha256": sha256,
            "reference": image.text,
        }  # fmt: skip
        new = NewOperation(
            "add_image",
            "",
            project_id=image.project_id,
            arguments=arguments,
            unique_key=f"add-image-{image.id}",
        )
        return accepted(change, change.enqueue(new, image.text), (None, None), no_content())

    answer = changing(call, "image", "upload_image", act)
    receiver.path.unlink(missing_ok=True)
    if "idempotency-replayed" in answer.headers:  # the same request was faster
        _discard(call, upload)
    return answer


@route(router, "POST /v1/image/upload", "begin_upload", "Begin an upload", models.Upload, status_code=201)
@_then_removes_files
@changes("image", "upload_image")
def begin_upload(change: Change, body: models.NewUpload) -> Response:
    """The image is then sent in parts, by PATCH to the answer's Location."""
    upload = _begin(change, body.name, body.project, body.size)
    expected = {"sha256": body.sha256, "md5": body.md5}  # replaced by what they are when it has come
    change.session.update("image", expected, id=upload.image_id)
    place = change.call.url(f"/v1/image/upload/{upload.id}")
    return json_answer(_upload_json(upload, body.name), 201, {"Location": place, "Upload-Offset": "0"})


def _upload_json(upload: Upload, name: str) -> Json:
    return {"id": upload.id, "name": name, "size": upload.size_bytes, "offset": upload.offset_bytes}


def _find_upload(session: Session, call: Call, identifier: str) -> tuple[Upload, Image]:
    """The caller's upload, for everybody or for one of the projects that the credentials are for now."""
    upload = records.find_upload(session, identifier, call.caller.user.id)
    image = None if upload is None else images.image_by_id(session, upload.image_id)
    places = {None, *call.scope.projects}
    if upload is None or image is None or not (call.scope.is_operator or image.project_id in places):
        raise Problem("unknown-upload", f"there is no upload {identifier[:64]} of yours; begin again")
    return upload, image


@route(router, "GET /v1/image/upload/{id}", "get_upload", "How far an upload is", models.Upload)
@reads
def get_upload(question: Reading, id: str) -> Response:
    """`offset` is where to go on."""
    upload, image = _find_upload(question.session, question.call, id)
    headers = {"Upload-Offset": str(upload.offset_bytes), "Cache-Control": "no-store"}
    return json_answer(_upload_json(upload, image.name), 200, headers)


@route(router, "DELETE /v1/image/upload/{id}", "cancel_upload", "Give an upload up", status_code=204)
@_then_removes_files
@changes("image", "cancel_upload")
def cancel_upload(change: Change, id: str) -> Response:
    """What came is removed."""
    _, image = _find_upload(change.session, change.call, id)
    images.remove_image(change.session, image.id)
    change.note(image.text)
    return no_content()


@route(
    router,
    "PATCH /v1/image/upload/{id}",
    "continue_upload",
    "Send a part of an image",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def continue_upload(
    call: Known,
    id: str,
    upload_offset: Annotated[int, Header(ge=0, description="where this part begins")],
    upload_digest: Annotated[
        str | None, Header(description="of the whole image, with its last part: sha-256=:BASE64:")
    ] = None,
) -> Response:
    """204 with the new Upload-Offset; when the image is whole, the answer is that of `upload_image`.

    Without a body, when everything came before and the last answer did not: it is checked and stored then.
    """

    async def receive() -> Response:
        digest = None if upload_digest is None else sha256_of("Upload-Digest", upload_digest)
        upload, expected = await run_in_threadpool(_resume, call, id, upload_offset)
        async with _receiver(call, upload) as receiver:
            async for chunk in stream_of(call.request, "continue the upload at its offset"):
                await receiver.write(chunk)
            await run_in_threadpool(receiver.flush)
            if receiver.offset < upload.size_bytes:
                return Response(None, 204, {"Upload-Offset": str(receiver.offset)})
            if digest is not None:
                expected["SHA-256"] = digest
            return await _stored(call, upload, receiver, expected)

    return await _admitted(call, receive)


def _resume(call: Call, identifier: str, offset: int) -> tuple[Upload, dict[str, str]]:
    with call.service.pool.transaction() as session:
        upload, _ = _find_upload(session, call, identifier)
        if offset != upload.offset_bytes:
            raise conflict(
                f"{upload.offset_bytes} bytes of this upload are here, and this part begins at {offset}; send what"
                f" comes from byte {upload.offset_bytes} on",
                headers={"Upload-Offset": str(upload.offset_bytes)},
            )
        return upload, images.expected_digests(session, upload.image_id)


def demand_image_quota(session: Session, project_id: int | None, more_bytes: int) -> None:
    """Problem when the project's images would be more, or take more, than its limits. Locks the project's row."""
    project = identity.project_by_id(session, project_id, is_locked=True) if project_id is not None else None
    if project is not None:
        count, size = image_usage(session, project.id)
        records = " and unfinished uploads of the last day"  # no list has these
        demand_limit(project, "images", count + 1, records)
        demand_limit(project, "image_bytes", size + more_bytes, records)


def demand_public_image_quota(session: Session, user_id: int, more_bytes: int) -> None:
    """Problem when an owner's images for everybody would be more, or take more, than those of a new project may."""
    count, size = public_image_usage(session, user_id)
    for name, value in (("images", count + 1), ("image_bytes", size + more_bytes)):
        if value > FIRST_LIMITS[name]:
            raise Problem(
                "quota-exceeded",
                f"{LIMITS[name]}: you would have {value} for everybody, and the limit is {FIRST_LIMITS[name]};"
                f" {REMEDIES[name]}, or ask the site's operators",
            )
