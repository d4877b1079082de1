"""Uploads of ISO images: row 34 of Table 1 (`decorators.route`).

nginx asks whether it may receive the body, and stores it as a file. Then the request comes again, with the file's name
instead of the body. Both have nginx's number of the request.
"""

from __future__ import annotations

import base64
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from nucleus.api import models
from nucleus.api.access.authentication import caller_of, refused, require
from nucleus.api.decorators import done, route
from nucleus.api.idempotency import answer_before
from nucleus.api.problems import Problem, answer_of, invalid, limited, problem_of, unavailable
from nucleus.api.quotas import REMEDIES, demand_limit
from nucleus.api.service import (
    Call,
    Change,
    accepted,
    changing,
    identify,
    no_content,
    record_refusal,
    service_of,
)
from nucleus.limits import FIRST_LIMITS, LIMITS
from nucleus.mirror import identity
from nucleus.mirror.columns import same_name
from nucleus.mirror.driver import DuplicateError
from nucleus.records import NewOperation
from owners.images import records as images
from owners.images.records import image_usage, public_image_usage
from owners.images.upload_bytes import (
    disk_problem,
    expected_digests,
    form_of,
    give_name,
    gone,
    is_form,
    store,
)
from rocks.core.errors import RocksError

if TYPE_CHECKING:
    from nucleus.api.access.authentication import Caller
    from nucleus.mirror.pool import Session
    from owners.images.upload_bytes import Stored

router = APIRouter()

_NAME = re.compile(models.IMAGE_NAME)
_MOST_OF_USER, _MOST = 4, 16
"""Uploads at the same time, of a user and in all."""

_SLOW_SECONDS, _SLOWEST_BYTES_A_SECOND = 600.0, 1_000_000
"""How long an upload keeps its place: so long, and as long as its bytes take at this rate."""

_COUNTING = threading.Lock()
_RESERVE_BYTES = 1 << 30
"""What uploads leave free of the file system."""

_SETTLED_SECONDS = 60.0
"""How long the transaction that records a file may take."""


@dataclass
class Arrival:
    """An upload whose body nginx may receive, or the answer to one that it may not receive.

    `place`: project (None: everybody) and name; a form has them in its body.
    """

    size: int = 0
    caller: Caller | None = None
    place: tuple[int | None, str] | None = None
    answer: Response | None = None
    is_received: bool = False
    begun: float = field(default_factory=time.monotonic)

    @property
    def counts(self) -> bool:
        """Whether it takes a place and room: one that never ends does not keep others away for ever."""
        lasts = _SLOW_SECONDS + self.size / _SLOWEST_BYTES_A_SECOND
        return self.caller is not None and self.answer is None and time.monotonic() < self.begun + lasts


@route(
    router,
    "POST /v1/image",
    "upload_image",
    "Upload an image",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["file"],
                        "properties": {
                            "project": {"type": "string"},
                            "file": {"type": "string", "format": "binary"},
                        },
                    }
                },
            },
        }
    },
)
async def upload_image(
    request: Request,
    name: Annotated[str | None, Query(description="of the image, unless the body is a form")] = None,
    project: Annotated[str | None, Query(description="whose members get the image")] = None,
    md5: Annotated[str | None, Header(description="hexadecimal; or Content-Digest")] = None,
    content_digest: Annotated[str | None, Header(description="sha-256=:BASE64:")] = None,
) -> Response:
    """The image, of a stated length; or a form with the part `file` at its end, after a part `project` if any.

    A form needs a checksum. An upload that breaks off begins again.
    """
    service, number = service_of(request), request.headers["x-nucleus-number"]
    arrival: Arrival | None = service.arrivals.get(number)
    if arrival is None:
        arrival = service.arrivals[number] = Arrival()
        await run_in_threadpool(_admit, request, arrival, name, project)
        return Response(None, 204 if arrival.answer is None else 403)
    try:
        if arrival.answer is not None:
            return arrival.answer
        arrival.is_received = True  # and keeps its place until it is stored, also when its client is gone
        return await _received(request, arrival, project)
    finally:
        service.arrivals.pop(number, None)


def _admit(request: Request, arrival: Arrival, name: str | None, project: str | None) -> None:
    """Complete the arrival, by what the headers say."""
    try:
        call = identify(request)
        arrival.answer = _answer_at_once(call, arrival, name, project)
    except Problem as problem:
        arrival.answer = answer_of(problem, request)
    except RocksError as error:
        arrival.answer = answer_of(problem_of(error, request), request)


def _answer_at_once(call: Call, arrival: Arrival, name: str | None, project: str | None) -> Response | None:
    """The answer of the same request before; None where the body may come. Problem where it may not."""
    try:
        require(call.caller, "image")
        before = answer_before(call)
        if before is None:
            _demand_room(call, arrival, name, project)
            _remove_files(call)
        return before
    except Problem as problem:
        record_refusal(call, "upload_image", problem)
        raise


async def _received(request: Request, arrival: Arrival, project: str | None) -> Response:
    assert arrival.caller is not None
    state, caller = request.scope["state"], arrival.caller
    state["actor"], state["token_id"] = caller.actor, caller.token_id
    call = Call(request, service_of(request), caller)
    try:
        async with call.service.hashings.turn(caller.user.id):
            answer = await run_in_threadpool(_take, call, arrival, project)
    except Problem as problem:
        await run_in_threadpool(record_refusal, call, "upload_image", problem)
        raise
    return await done(call, answer)


def _demand_room(call: Call, arrival: Arrival, name: str | None, project: str | None) -> None:
    """Problem unless the site, the user and the project have room for the upload, beside those on their way."""
    headers = call.request.headers
    expected_digests(headers)
    length = headers.get("x-nucleus-length", "")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise invalid("the length of the upload is not stated: send it with the header Content-Length")
    _demand_size(call, name or "it", int(length))
    if not is_form(headers):
        arrival.place = _project_of(call, project), _checked(name or "")
    elif len(call.caller.projects) == 1 and not _publishes(call):
        arrival.place = _project_of(call, None), ""
    with _COUNTING:  # each counts those that were counted before it
        known: list[Arrival] = list(call.service.arrivals.values())
        before = [one for one in known if one.counts]
        arrival.size, arrival.caller = int(length), call.caller
    later = {"Retry-After": "60"}
    if sum(one.caller.user.id == call.caller.user.id for one in before if one.caller) >= _MOST_OF_USER:
        raise limited(f"you have {_MOST_OF_USER} uploads; wait until one has ended", headers=later)
    if len(before) >= _MOST:
        raise limited(f"there are {_MOST} uploads already; try again later", headers=later)
    _demand_space(call, sum(one.size for one in before) + arrival.size)
    if arrival.place is None:
        changing(call, "image", "upload_image", partial(_demand_any_place, size=arrival.size), has_key=False)
        return
    same = [one for one in before if one.place and one.place[0] == arrival.place[0]]
    if arrival.place[1] and arrival.place in [one.place for one in same]:
        raise Problem(
            "request-in-progress", f"{arrival.place[1]} is being uploaded; wait until that has ended"
        )
    demand = partial(
        _demand_place,
        place=arrival.place,
        count=len(same) + 1,
        size=sum(one.size for one in same) + arrival.size,
    )
    changing(call, "image", "upload_image", demand, has_key=False)


def _folder(call: Call) -> Path:
    return Path(call.service.configuration.images.folder)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{name[:140]!r} cannot name an image: letters, digits and . _ + - and .iso at its end",
            [("#/name", "not a name of an image")],
        )
    return name


def _demand_size(call: Call, name: str, size: int) -> None:
    most_gb = call.service.configuration.images.most_gb
    if size > most_gb * 10**9:
        raise Problem(
            "too-large",
            f"an image may have {most_gb} GB here, and {name[:140]} has {-(-size // 10**8) / 10:g} GB",
        )


def _demand_space(call: Call, more_bytes: int) -> None:
    """Problem unless the disk has room for all that is on its way; what has come of it takes room already."""
    there = 0
    try:
        for one in (_folder(call) / "arriving").iterdir():
            with suppress(FileNotFoundError):
                there += one.stat().st_size
        free = shutil.disk_usage(_folder(call)).free
    except OSError as error:
        raise disk_problem(error) from None
    if free + there < more_bytes + _RESERVE_BYTES:
        raise unavailable("the site has no space for images now; report it to its operators")


def _demand_place(change: Change, place: tuple[int | None, str], count: int, size: int) -> None:
    """Problem where the name is taken, or `count` more images of `size` bytes together are too many."""
    project_id, name = place
    if images.is_taken(change.session, project_id, name):
        raise _taken(name)  # before the limit of images, which one of the same name would not help
    if project_id is not None:
        demand_image_quota(change.session, project_id, size, count)
    elif not change.scope.is_operator:
        demand_public_image_quota(change.session, change.caller.user.id, size, count)


def _demand_any_place(change: Change, size: int) -> None:
    """Problem where no place that a form may name has room: its own is known only when all of it has come."""
    places: list[int | None] = [None] if _publishes(change.call) else []
    places += sorted(change.caller.projects.values())
    refusals: list[Problem] = []
    for project_id in places or [_project_of(change.call, None)]:
        try:
            _demand_place(change, (project_id, ""), 1, size)
            return
        except Problem as problem:
            refusals.append(problem)
    raise refusals[-1]


def _taken(name: str) -> Problem:
    return Problem("name-conflict", f"there is an image {name} already; delete it, or choose another name")


def _remove_files(call: Call) -> None:
    """Remove files that no image needs; a failure here is left to the next upload.

    A file is named within the transaction that records its image: a new one may have no record yet.
    """
    folder, oldest = _folder(call), time.time() - _SETTLED_SECONDS
    with suppress(RocksError, OSError):
        files = [
            one for one in folder.glob("*") if re.fullmatch(r"[0-9A-Z]{26}\.part|[0-9]{1,20}\.iso", one.name)
        ]
        with call.service.pool.reading() as session:
            needed = {_whole_path(call, one) for one in images.unfinished(session)}
        for file in files:
            if file not in needed and file.stat().st_ctime < oldest:
                file.unlink(missing_ok=True)


def _whole_path(call: Call, image_id: int) -> Path:
    """The file of an image that was checked, until the site's library has it."""
    return _folder(call) / f"{image_id}.iso"


def _publishes(call: Call) -> bool:
    return call.scope.is_operator or call.service.configuration.images.owners_publish


def _project_of(call: Call, requested: str | None) -> int | None:
    """The project whose members get the image; None = everybody."""
    own = call.caller.projects
    if requested:
        found = [number for name, number in own.items() if same_name(name, requested)]
        if not found:
            raise invalid(f"you are in no project {requested[:64]!r}; `comet ll` shows yours")
        return found[0]
    if _publishes(call):
        return None
    if len(own) != 1:
        if not own:
            raise invalid("you are in no project; ask the site's operators")
        raise invalid(f"for which project is it? state one of: {', '.join(sorted(own))}")
    return next(iter(own.values()))


def _as_of_now(call: Call) -> Call:
    """The call with the caller's rights of this moment: the upload has lasted. Problem 401 where there are none."""
    with call.service.pool.reading() as session:
        caller = caller_of(session, call.caller.user.id, call.caller.token_id)
    if caller is None:
        raise refused("your credentials have ended since the upload began")
    return Call(call.request, call.service, caller)


def _take(call: Call, arrival: Arrival, project: str | None) -> Response:
    """Check the file that nginx has stored, and have the site's library take it."""
    call, headers = _as_of_now(call), call.request.headers
    expected = expected_digests(headers)
    if "x-nucleus-file" not in headers:
        raise invalid("the body is empty: send the image")
    path, place = Path(headers["x-nucleus-file"]), arrival.place
    if place is not None and place[0] not in {None, *call.caller.projects.values()}:
        raise invalid("you are no longer in the project that the image is for; `comet ll` shows yours")
    try:
        if is_form(headers):
            form = form_of(path, headers["content-type"])
            place = _project_of(call, form.project), _checked(form.filename)
            stored = store(path, form.begin, form.end)
        else:
            stored = store(path)
    except FileNotFoundError:
        raise gone() from None
    except OSError as error:
        raise disk_problem(error) from None
    assert place is not None
    for kind, value in expected.items():
        if value != stored.digests[kind]:
            raise invalid(
                f"the {kind} of the image is {stored.digests[kind]}, not {value}; send the image again"
            )
    return changing(call, "image", "upload_image", lambda change: _enter(change, *place, path, stored))


def _enter(change: Change, project_id: int | None, name: str, path: Path, stored: Stored) -> Response:
    """Record the image, and give its file a name that stays."""
    _demand_place(change, (project_id, name), 1, stored.size)
    sha256, md5 = (stored.digests[kind] for kind in ("SHA-256", "MD5"))
    try:
        number = images.add_image(
            change.session, project_id, name, stored.size, sha256, md5, change.caller.user.id
        )
    except DuplicateError:
        raise _taken(name) from None
    image = images.image_by_id(change.session, number)
    assert image is not None
    target = _whole_path(change.call, number)
    give_name(path, target)  # before the workers see the operation
    arguments: dict[str, Any] = {
        "image": number, "library_name": image.library_name, "path": str(target), "sha256": sha256,
        "reference": image.text,
    }  # fmt: skip
    new = NewOperation(
        "add_image", "", project_id=project_id, arguments=arguments, unique_key=f"add-image-{number}"
    )
    answer = accepted(change, change.enqueue(new, image.text), (None, None), no_content())
    answer.headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    return answer


def demand_image_quota(session: Session, project_id: int | None, more_bytes: int, more: int = 1) -> None:
    """Problem when the project's images would be more, or take more, than its limits. Locks the project's row."""
    project = identity.project_by_id(session, project_id, is_locked=True) if project_id is not None else None
    if project is not None:
        count, size = image_usage(session, project.id)
        demand_limit(project, "images", count + more, " and uploads")
        demand_limit(project, "image_bytes", size + more_bytes, " and uploads")


def demand_public_image_quota(session: Session, user_id: int, more_bytes: int, more: int) -> None:
    """Problem when an owner's images for everybody would be more, or take more, than those of a new project may."""
    count, size = public_image_usage(session, user_id)
    for name, value in (("images", count + more), ("image_bytes", size + more_bytes)):
        if value > FIRST_LIMITS[name]:
            raise Problem(
                "quota-exceeded",
                f"{LIMITS[name]}: you would have {value} for everybody, and the limit is {FIRST_LIMITS[name]};"
                f" {REMEDIES[name]}, or ask the site's operators",
            )
