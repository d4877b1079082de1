"""Threads that claim operations and do them.

VERBS says which kind is done by what, and the parts have more.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from nucleus.backends.executor import UnreachedError
from nucleus.mirror import clusters, operations
from nucleus.mirror.claims import WORKER_LOCK, Claimant
from nucleus.mirror.events import WORK
from nucleus.mirror.pool import Guard
from nucleus.operations import power
from nucleus.operations.causes import UnfinishedError, error_for
from nucleus.operations.job import Job, LaterError, LostError, Tools
from nucleus.operations.retries import UNREACHED, is_outcome, pause_seconds
from nucleus.parts import installed
from nucleus.power_actions import RESTARTS, STOP_ACTIONS
from nucleus.records import SYSTEM, JsonObject, NewOperation, Operation
from nucleus.states import ENDED_OPERATIONS, SUCCEEDED
from rocks.core.errors import BugError, RocksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nucleus.backends.rocks import Rocks
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool, Session

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0


def of_each_node(job: Job, kind: str) -> JsonObject:
    """Have `kind` done for every node of the arguments; name of each → what became of it.

    UnfinishedError, with that, when it failed on some.
    """
    parent = job.operation
    children = job.transaction(lambda session: _children(session, parent, kind))
    WORK.give()
    if any(child.state not in ENDED_OPERATIONS for child in children):
        raise LaterError(_LOOK_SECONDS)
    names = job.transaction(lambda session: clusters.nodes_by_id(session, SYSTEM, parent.arguments["nodes"]))
    results = {
        names[child.target_node or 0].name: {
            "state": child.state,
            "result": child.result,
            "error": error_for(child.error, is_operator=False),
        }
        for child in children
    }
    failed = [child for child in children if child.state != SUCCEEDED]
    if failed:
        first = (failed[0].error or {}).get("detail", failed[0].state)
        text = f"{kind} failed on {len(failed)} of {len(children)} nodes; the first: {first}"
        raise UnfinishedError(text, {"nodes": results})
    return {"nodes": results}


def _children(session: Session, parent: Operation, kind: str) -> list[Operation]:
    arguments = {key: value for key, value in parent.arguments.items() if key != "nodes"}
    return [
        operations.insert_operation(
            session,
            NewOperation(
                kind, parent.actor, parent.target_cluster, node, parent.target_set, parent.token_id, parent.project_id,
                arguments, unique_key=f"{parent.id}/{node}",
            ),
        )
        for node in parent.arguments["nodes"]
    ]  # fmt: skip


VERBS: dict[str, Callable[[Job], JsonObject]] = {
    "poweron": power.power_on,
    **{
        name: partial(power.stop_once if name in RESTARTS else power.stop, action=name)
        for name in STOP_ACTIONS
    },
    "destroy": power.destroy,
}
"""Kind of an operation → what does it. Errors are stored with the operation."""


@functools.cache
def verbs() -> dict[str, Callable[[Job], JsonObject]]:
    """`VERBS`, and those of the parts, which may replace one."""
    found = dict(VERBS)
    for part in installed().values():
        found |= part.verbs()
    return found


class Workers:
    """The workers of a process: one thread claims, others do."""

    def __init__(self, configuration: Configuration, pool: Pool, rocks: Rocks) -> None:
        self._settings = configuration.work
        self._pool = pool
        self._stop = threading.Event()
        self._tools = Tools(
            pool, rocks, configuration.work, self._stop, configuration.batch, configuration.mail
        )
        self._name = os.urandom(6).hex()
        self._claimant = Claimant(self._name, self._settings.threads, self._settings.per_host, list(verbs()))
        self._guard = Guard(pool.settings, f"{WORKER_LOCK}{self._name}")
        self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="work")
        self._free = threading.Semaphore(self._settings.threads)

    def run(self, stop: threading.Event) -> None:
        """Do what is asked for until `stop` is set; then end what has begun or leave it to the next process."""
        self._guard.work("operations", partial(self._claim_all, stop), WORK, stop)
        self._stop.set()
        self._threads.shutdown(wait=True)
        self._guard.release()  # what was not finished is taken over from here on

    def _claim_all(self, stop: threading.Event) -> None:
        while not stop.is_set() and self._free.acquire(timeout=_LOOK_SECONDS):
            claimed = None
            try:
                with self._pool.transaction() as session:
                    found = self._claimant.claim(session)
                claimed = found  # once it is committed
            finally:
                if claimed is None:
                    self._free.release()
            if claimed is None:
                return
            self._claimant.begin(claimed)
            self._threads.submit(self._do, claimed)

    def _do(self, operation: Operation) -> None:
        try:
            with suppress(LostError):
                perform(self._tools, operation)
            self._claimant.end(operation)
        except Exception:  # it stays in hand: claimed again it would fail again at once
            _LOG.exception("operation %s: an error of this program", operation.id)
        finally:
            self._free.release()
            WORK.give()


def perform(tools: Tools, operation: Operation) -> None:
    """Do a claimed operation, and store its outcome or when it is tried again. LostError: somebody else does."""
    job = Job(tools, operation)
    try:
        job.transaction(job.load)
        result = verbs()[operation.kind](job)
    except LaterError as later:
        job.put_back(later.seconds)
    except RocksError as error:
        if is_outcome(error, operation, job.tools.settings.attempts):
            job.end(error.result if isinstance(error, UnfinishedError) else None, error)
        else:
            if isinstance(error, UnreachedError):
                job.store(UNREACHED)
            job.put_back(pause_seconds(operation), error)
    except LostError:
        raise
    except Exception:
        _LOG.exception("operation %s: an error of this program", operation.id)
        job.end(None, BugError("an error of this program"))
    else:
        job.end(result, None)
