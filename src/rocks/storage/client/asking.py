"""Requests to NASes and hosts: each function makes a query, and `StorageClient` sends many at once."""

from __future__ import annotations

import os
from typing import (
    Any,
    Callable,
    Dict,
    Generic,
    List,
    Mapping,
    Optional,
    Protocol,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from rocks.core import dry_run
from rocks.core.clock import Deadline, utc_now, wait_seconds
from rocks.core.dataclasses import dataclass
from rocks.core.errors import BugError, HostError, IncoherentError, RocksError, StateError, UserError
from rocks.core.values import size_text
from rocks.storage.bus import (
    Asker,
    BrokerAwayError,
    BusSettings,
    Delivery,
    NoAnswerError,
    RequestMessage,
    UndeliveredError,
)
from rocks.storage.client.listing import progress_line
from rocks.storage.wire import names
from rocks.storage.wire import requests as wire
from rocks.storage.wire.messages import read_message, success_of, write_request
from rocks.storage.wire.names import host_queue, nas_queue
from rocks.storage.wire.replies import (
    Fields,
    HeldRow,
    ImageAttributes,
    ImageRow,
    MadeBase,
    MadeClones,
    MadeVolume,
    OperationRow,
    SnapshotsOfImage,
    read_rows,
)
from rocks.storage.wire.requests import action_of

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Query(Generic[Answer]):
    """A request to a node's daemon, and how its answer is read.

    `follow` makes, from an answer that may be a part only, the query for all of it; None when it was complete.
    """

    node: str
    request: wire.Asks[Any]
    read: Callable[[Fields], Answer]
    follow: Optional[Callable[[Fields], Optional[Query[Answer]]]] = None

    @property
    def queue(self) -> str:
        """The daemon's queue."""
        is_nas = action_of(self.request).role == "nas"
        return nas_queue(self.node) if is_nas else host_queue(self.node)

    @property
    def is_reading(self) -> bool:
        """Whether it changes nothing."""
        return action_of(self.request).repetition == "reads"

    @property
    def zvol(self) -> str:
        """The image concerned; '' without one."""
        return str(getattr(self.request, "zvol", ""))


def new_query(node: str, request: wire.Asks[Answer]) -> Query[Answer]:
    """A request, with the answer that the table of actions declares."""
    return Query(node, request, action_of(request).read)


# --- of a NAS ------------------------------------------------------------------------------------------------------


def images_of(nas: str) -> Query[Tuple[ImageRow, ...]]:
    """All images, in as many messages as needed."""
    return _images_behind(nas, ())


def _images_behind(nas: str, known: Tuple[ImageRow, ...]) -> Query[Tuple[ImageRow, ...]]:
    """All images; the first ones are known."""

    def read(fields: Fields) -> Tuple[ImageRow, ...]:
        return known + read_rows(ImageRow, fields)

    def follow(fields: Fields) -> Optional[Query[Tuple[ImageRow, ...]]]:
        rows = read(fields)
        return _images_behind(nas, rows) if fields.get("more") is True and len(rows) > len(known) else None

    return Query(nas, wire.ListZvols(known[-1].zvol if known else ""), read, follow)


def operations_of(nas: str) -> Query[Tuple[OperationRow, ...]]:
    """Operations in progress."""
    return new_query(nas, wire.ListOperations())


def snapshots_of(nas: str, zvol: str) -> Query[SnapshotsOfImage]:
    """Snapshots of an image."""
    return new_query(nas, wire.ListSnapshots(zvol))


def unmap_image(nas: str, zvol: str) -> Query[None]:
    """Unmap it, and write its changes back."""
    return new_query(nas, wire.UnmapZvol(zvol))


def cancel_image(nas: str, zvol: str) -> Query[None]:
    """Undo a map or a move in progress, or cancel a waiting unmap."""
    return new_query(nas, wire.CancelZvol(zvol))


# --- of a host -----------------------------------------------------------------------------------------------------


def initiator_of(host: str) -> Query[str]:
    """Its iSCSI name."""
    return new_query(host, wire.ListInitiator())


# --- in a dry run: whether image storage would refuse the change, which is printed ---------------------------------


Ask = Callable[[Query[Any]], Any]
"""Sends a query that only reads, and returns the answer; raises the error."""

_STEPS: Dict[Type[Any], Callable[[Any], str]] = {
    wire.MapZvol: lambda it: (
        f"map the image {it.zvol} to {it.remotehost}" + (", and copy it there" if it.sync else "")
    ),
    wire.AddZvol: lambda it: (
        f"make the volume {it.zpool}/{it.zvol}" + (f" from {it.origin}" if it.origin else "")
    ),
    wire.AddBase: lambda it: f"store the image {it.image} in {it.zpool}, unless it is there",
    wire.CloneZvols: lambda it: (
        f"make these volumes of {it.zpool} as clones, unless they exist: "
        + ", ".join(clone.zvol for clone in it.clones)
    ),
    wire.FreezeZvols: lambda it: f"have a snapshot of {', '.join(it.zvols)} in {it.zpool}",
    wire.UnmapZvol: lambda it: f"unmap the image {it.zvol}, and write its changes back",
    wire.DelZvol: lambda it: f"destroy the image {it.zvol}" + _grace(it.grace_seconds),
    wire.UndeleteZvol: lambda it: f"restore the removed image {it.zvol}",
    wire.AcceptZvol: lambda it: f"expect the image {it.zvol} of {it.source} in {it.zpool}",
    wire.MoveZvol: lambda it: f"move the image {it.zvol} to {it.nas}",
    wire.GrowZvol: lambda it: f"give the image {it.zvol} the size {size_text(it.size_bytes)}",
    wire.SetZvolAttrs: lambda it: f"set {_names(dict(it.changes))} of the image {it.zvol}",
    wire.SetAttrs: lambda it: f"set {_names(dict(it.attrs))}",
    wire.DelAttrs: lambda it: f"remove the attribute {', '.join(it.attrs)}",
    wire.PullZvol: lambda it: f"write the changes of the image {it.zvol} back",
    wire.CancelZvol: lambda it: f"cancel what is in progress for the image {it.zvol}",
    wire.RetryZvol: lambda it: f"retry the blocked image {it.zvol}",
    wire.AbandonZvol: lambda it: f"discard the changes of the image {it.zvol} that only its host has",
    wire.RestoreZvol: lambda it: f"make the snapshot {it.snapshot} the content of {it.zvol}",
    wire.HoldSnapshot: lambda it: (
        f"complete the snapshot of the image {it.zvol}"
        if it.guid
        else f"have a snapshot of the image {it.zvol}, and hold it"
    ),
    wire.ReleaseSnapshot: lambda it: f"release the snapshot {it.snapshot} of the image {it.zvol}",
    wire.DelCopy: lambda it: f"destroy the copy {it.volume}",
}

_UNCHECKED = (wire.MapZvol, wire.CloneZvols, wire.FreezeZvols, wire.DelCopy)
"""What may need an earlier step of the same dry run, which the NAS does not know; and what only a host knows."""


def dry_answer(query: Query[Any], ask: Ask) -> Any:
    """The answer to a request that changes something, as if it had succeeded; `ask` sends a query that only reads.

    The error with which the NAS would refuse the request; UnknownReplyError where what follows depends on the change.
    """
    request = query.request
    step = _STEPS.get(type(request))
    if step is None:
        raise BugError(f"a dry run does not know the request {type(request).__name__}; please report this")
    is_completion = isinstance(request, wire.HoldSnapshot) and request.guid  # of a snapshot that is not made
    if not isinstance(request, _UNCHECKED) and not is_completion:
        ask(new_query(query.node, wire.CheckRequest(write_request(request).decode())))
    dry_run.would(query.node, step(request))
    return _answer(query.node, request)


def _answer(node: str, request: Any) -> Any:
    if isinstance(request, wire.MapZvol):
        device = f"/dev/mapper/{request.zvol}"
        dry_run.assume_device(request.remotehost, device)
        return device
    if isinstance(request, wire.AddZvol):
        if request.importing:
            raise dry_run.unknown(node, f"the transfer of the content of {request.zvol}")
        return MadeVolume("0", request.size_bytes)
    if isinstance(request, wire.AddBase):
        return MadeBase("0", request.size_bytes, complete=True)
    if isinstance(request, wire.CloneZvols):
        return MadeClones(tuple(clone.zvol for clone in request.clones), (), ())
    if isinstance(request, wire.FreezeZvols):
        return dict.fromkeys(request.zvols, "SNAPSHOT")
    if isinstance(request, wire.HoldSnapshot):
        return HeldRow("SNAPSHOT", "0")
    if isinstance(request, wire.SetZvolAttrs):
        return ImageAttributes(request.zvol, persistent=dict(request.changes).get("persistent") != "no")
    return {} if isinstance(request, (wire.SetAttrs, wire.DelAttrs)) else None


def _names(values: Mapping[str, Optional[str]]) -> str:
    return ", ".join(f"{name}={value if value is not None else 'none'}" for name, value in values.items())


def _grace(seconds: int) -> str:
    return f" in {seconds // 3600} hours" if seconds else ""


# --- send requests and wait for the answers: many at once, each with its own answer or error -----------------------


QUICK_SECONDS = 20.0
"""How long a command waits for what a daemon answers at once."""

Answers = Dict[str, Union[Answer, RocksError]]

_LOOK_SECONDS = 2.0
_LOOK = "look at "
"""Prefix of the key of a progress request among those of the caller."""

PKI_FOLDER = "/etc/rocks/pki"


class Watcher(Protocol):
    """Shows a waiting person the progress."""

    @property
    def displays_progress(self) -> bool:
        """Whether a person sees it."""

    def progress(self, line: str) -> None:
        """Show the progress so far."""

    def left(self, line: str) -> None:
        """Report that the wait has ended while the operation continues."""


class StorageClient:
    """One connection to the broker, made at the first request; use it in a `with`."""

    def __init__(self, settings: BusSettings, before_waiting: Callable[[], None] = lambda: None) -> None:
        """`before_waiting` is called each time before the caller waits for answers."""
        self._asker = Asker(settings)
        self._before_waiting = before_waiting

    def __enter__(self) -> StorageClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._asker.close()

    def ask(self, query: Query[Answer], deadline_seconds: Optional[float] = None) -> Answer:
        """The answer to one request, within QUICK_SECONDS unless another deadline is given.

        Raises the daemon's error; BrokerAwayError (BusyError) when the broker cannot be reached, RefusedError
        (ToolError) when it rejects this node, HostError when that node never had a daemon, NoAnswerError (BusyError) at
        the deadline.
        """
        return _only(self.ask_each({"": query}, deadline_seconds))

    def ask_each(
        self, queries: Mapping[str, Query[Answer]], deadline_seconds: Optional[float] = None
    ) -> Answers[Answer]:
        """Key → the answer to its request, or its error; all are sent at once.

        Only errors of the broker are raised, since they concern all requests. In a dry run, see `dry_answer`.
        """
        if dry_run.is_on():
            return self._ask_in_dry_run(queries, deadline_seconds)
        return self._ask_each(queries, deadline_seconds)

    def _ask_in_dry_run(
        self, queries: Mapping[str, Query[Answer]], deadline_seconds: Optional[float]
    ) -> Answers[Answer]:
        """The answers to queries that only read; what changes something is not sent."""

        def ask(one: Query[Any]) -> Any:
            with dry_run.reading():
                return _only(self._ask_each({"": one}, None))

        asked = {key: one for key, one in queries.items() if one.is_reading}
        with dry_run.reading():
            answers = self._ask_each(asked, deadline_seconds)
        for key, one in queries.items():
            if key not in asked:
                try:
                    answers[key] = dry_answer(one, ask)
                except BrokerAwayError:
                    raise
                except RocksError as error:
                    answers[key] = error
        return answers

    def _ask_each(
        self, queries: Mapping[str, Query[Answer]], deadline_seconds: Optional[float]
    ) -> Answers[Answer]:
        seconds = QUICK_SECONDS if deadline_seconds is None else deadline_seconds
        answers: Answers[Answer] = {}
        asked: Dict[str, Query[Answer]] = dict(queries)
        while asked:
            messages = _messages(asked, seconds, at_once=True)
            followed: Dict[str, Query[Answer]] = {}
            self._before_waiting()
            for key, answer in self._asker.ask_all(messages, seconds):
                more = _put(answers, key, asked[key], messages[key], answer, seconds)
                if more is not None:
                    followed[key] = more
            asked = followed
        return answers

    def wait(
        self, query: Query[Answer], deadline_seconds: float, watcher: Optional[Watcher] = None
    ) -> Answer:
        """As `ask`, for a long operation; a watcher gets the progress."""
        return _only(self.wait_each({"": query}, deadline_seconds, watcher))

    def wait_each(
        self,
        queries: Mapping[str, Query[Answer]],
        deadline_seconds: float,
        watcher: Optional[Watcher] = None,
        taken: Optional[Callable[[], None]] = None,
    ) -> Answers[Answer]:
        """As `ask_each`, for long operations of NASes.

        `taken` is called once, when the broker has all requests and their NASes had time to begin: the caller may
        release its locks. An interrupt ends the wait only.
        """
        if dry_run.is_on():
            if taken is not None:
                taken()
            return self._ask_in_dry_run(queries, None)
        messages = _messages(queries, deadline_seconds)
        answers: Answers[Answer] = {}
        deadline = Deadline(deadline_seconds)
        is_first = True
        display = watcher if watcher is not None and watcher.displays_progress else None
        try:
            while len(answers) < len(messages) and not deadline.passed():
                still_open = {key: one for key, one in messages.items() if key not in answers}
                round_seconds = deadline.remaining_seconds() or 0.0
                is_short = is_first and bool(taken or watcher)
                if display is not None or is_short:
                    round_seconds = min(_LOOK_SECONDS, round_seconds)
                try:
                    self._round(queries, still_open, round_seconds, answers, display, looks=not is_short)
                except BrokerAwayError:
                    if is_first:
                        raise
                    wait_seconds(min(_LOOK_SECONDS, round_seconds))
                if is_first and taken is not None:
                    taken()
                is_first = False
        except KeyboardInterrupt:
            if watcher is not None:
                for key in [key for key in messages if key not in answers]:
                    watcher.left(_left(queries[key], messages[key]))
            raise
        for key, message in messages.items():
            if key not in answers:
                answers[key] = _no_answer(queries[key], message, deadline_seconds)
        return answers

    def _round(
        self,
        queries: Mapping[str, Query[Answer]],
        still_open: Mapping[str, RequestMessage],
        round_seconds: float,
        answers: Answers[Answer],
        watcher: Optional[Watcher],
        looks: bool,
    ) -> None:
        """Send the requests, or repeat them, which makes no difference; with `looks` ask the NASes for the progress."""
        nodes = sorted({queries[key].node for key in still_open}) if looks else []
        asked = {f"{_LOOK}{node}": operations_of(node) for node in nodes}
        self._before_waiting()
        for key, answer in self._asker.ask_all(
            {**still_open, **_messages(asked, round_seconds, at_once=True)}, round_seconds
        ):
            if key in asked:
                if watcher is not None and isinstance(answer, Delivery):
                    _show(asked[key], answer, [queries[one].zvol for one in still_open], watcher)
                elif watcher is not None and isinstance(answer, NoAnswerError):
                    watcher.progress(f"{asked[key].node} does not answer; waiting")
            elif not isinstance(answer, NoAnswerError):
                _put(answers, key, queries[key], still_open[key], answer, round_seconds)
            if len(answers) == len(queries):
                return  # without the answers for the progress, which may be lost


def _messages(
    queries: Mapping[str, Query[Any]], deadline_seconds: float, at_once: bool = False
) -> Dict[str, RequestMessage]:
    until = int((utc_now().timestamp() + deadline_seconds) * 1000)
    return {
        key: RequestMessage(one.queue, write_request(one.request, deadline=until), at_once)
        for key, one in queries.items()
    }


def _put(
    answers: Answers[Answer],
    key: str,
    query: Query[Answer],
    message: RequestMessage,
    answer: Union[Delivery, RocksError],
    deadline_seconds: float,
) -> Optional[Query[Answer]]:
    """Store the answer or the error under its key; returns the request for the rest of the answer, if there is one."""
    if isinstance(answer, NoAnswerError):
        answers[key] = _no_answer(query, message, deadline_seconds)
    elif isinstance(answer, UndeliveredError):
        answers[key] = HostError(f"{answer}; {_why_no_queue(query)}")
    elif isinstance(answer, RocksError):
        answers[key] = answer
    else:
        try:
            fields = success_of(read_message(answer.body))
            answers[key] = query.read(fields)
            return None if query.follow is None else query.follow(fields)
        except IncoherentError as error:
            answers[key] = IncoherentError(f"{query.node}: {error}", code=error.code)
        except RocksError as error:
            answers[key] = error
    return None


def _no_answer(query: Query[Any], message: RequestMessage, deadline_seconds: float) -> NoAnswerError:
    begin = f"{query.node} has not answered within {deadline_seconds:g} s"
    if query.is_reading:
        return NoAnswerError(f"{begin}: check that image storage runs there")
    return NoAnswerError(
        f"{begin}; operation {message.message_id} may continue there: rocks list host storageop {query.node}"
    )


def _why_no_queue(query: Query[Any]) -> str:
    """The reason, and the commands that start image storage on the node. A mistyped host is not made a NAS.

    The frontend is a host of images only where an attribute says so: tools that prepare images need that.
    """
    node = query.node
    is_nas = query.queue == names.nas_queue(node)
    frontend = f"vm-container; the frontend after rocks set host attr {node} img_storage_vm true"
    usual = "NASes (nas)" if is_nas else f"VM containers ({frontend})"
    return (
        f"image storage has never run on {node}, or the broker has lost the queue: rocks list host appliance shows "
        f"which hosts are {usual}. If {node} is one, run rocks sync broker, then rocks sync host profile {node}"
    )


def _left(query: Query[Any], message: RequestMessage) -> str:
    return (
        f"{query.node} continues with {query.zvol}, operation {message.message_id}; for its progress: "
        f"rocks list host storageop {query.node}"
    )


def _show(look: Query[Any], answer: Delivery, zvols: List[str], watcher: Watcher) -> None:
    try:
        rows = look.read(success_of(read_message(answer.body)))
    except RocksError:
        return  # the answer to the request itself reports it
    lines = {row.image: progress_line(row) for row in rows if row.image in zvols}
    if lines:
        watcher.progress("; ".join(lines.values()))


def _only(answers: Answers[Answer]) -> Answer:
    answer = answers[""]
    if isinstance(answer, RocksError):
        raise answer
    return answer


def broker_settings(
    node: str, server: str, address: str, environment: Mapping[str, str], is_issued: Callable[[], bool]
) -> BusSettings:
    """How this machine, `node` in the cluster, reaches the broker of the host `server` at that address.

    The environment has priority: ROCKS_BROKER_ADDRESS, ROCKS_BROKER_PORT, ROCKS_BROKER_NAME (the name in the
    broker's certificate) and ROCKS_PKI_FOLDER (the folder of node.pem and ca.crt). StateError without a certificate:
    `is_issued` says whether the node has one that is not deployed. UserError when this user may not read it.
    """
    folder = environment.get("ROCKS_PKI_FOLDER") or PKI_FOLDER
    pair = os.path.join(folder, "node.pem")  # noqa: PTH118 - pathlib costs start-up time
    if not os.path.exists(pair):  # noqa: PTH110
        deploy = f"rocks sync host certificate {node}"
        issue = "" if is_issued() else f"rocks add host certificate {node}, "
        raise StateError(
            f"{node} has no certificate in {pair} for requests about images: run "
            + (f"{issue}{deploy} and rocks sync broker" if issue else deploy)
        )
    if not os.access(pair, os.R_OK):
        raise UserError(f"only root may send requests about images: this user cannot read {pair}")
    port = environment.get("ROCKS_BROKER_PORT") or str(names.PORT)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f'ROCKS_BROKER_PORT is "{port}"; a port is a number from 1 to 65535')
    elsewhere = environment.get("ROCKS_BROKER_ADDRESS")
    return BusSettings(
        node,
        elsewhere or address,
        int(port),
        environment.get("ROCKS_BROKER_NAME") or elsewhere or server,
        pair,
        os.path.join(folder, "ca.crt"),  # noqa: PTH118
    )
