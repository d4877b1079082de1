"""A daemon of image storage that ends itself by SIGKILL at every step that it has not died at yet.

    dying_daemon.py nas|host STEPS

STEPS is a regular expression: it dies before, and after, each step whose name has it somewhere.

It runs the installed daemon, and sees its steps: effects, records, answers, parts of a stream. A step at
which it dies is marked by a file below /var/lib/dying-daemon first, so that the daemon's next life gets beyond it.
"""

import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKERS = Path("/var/lib/dying-daemon")
_MODULES = "/opt/rocks/lib/python"


_pattern = re.compile("")


def die_once(step: str) -> None:
    """End here, if the pattern matches the step and this was not done before; no name: no step."""
    if not step or not _pattern.search(step):
        return
    try:
        (MARKERS / step).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(name_of: Callable[..., str], place: Any, function: str) -> None:
    """Have a function of a class or module die before it begins, and after it has ended well."""
    whole = getattr(place, function)

    @functools.wraps(whole)
    def dying(*arguments: Any, **named: Any) -> Any:
        step = name_of(*arguments, **named)
        die_once(step and f"{step} before")
        result = whole(*arguments, **named)
        die_once(step and f"{step} after")
        return result

    setattr(place, function, dying)


def dying_in_stream(place: Any, function: str) -> None:
    """Have a transfer die at its first part, with something sent and not all; `count` is its last argument."""
    whole = getattr(place, function)

    @functools.wraps(whole)
    def dying(*arguments: Any) -> Any:
        count = arguments[-1]

        def counted(part_bytes: int, total_bytes: int) -> None:
            count(part_bytes, total_bytes)
            die_once(f"in {function}")

        return whole(*arguments[:-1], counted)

    setattr(place, function, dying)


def _effect(effect: Any) -> str:
    return effect if isinstance(effect, str) else f"{type(effect).__name__}{getattr(effect, 'stage', '')}"


_rebuilds = threading.local()


def _rebuilding(whole: Callable[..., bool]) -> Callable[..., bool]:
    def rebuild(self: Any, zvol: str, request: Any) -> bool:
        _rebuilds.now = True
        try:
            return whole(self, zvol, request)
        finally:
            _rebuilds.now = False

    return rebuild


def _rebuilt_name(self: Any, effect: Any, request: Any, access: Any) -> str:
    return f"rebuild-{access.known.stage}-{_effect(effect)}" if getattr(_rebuilds, "now", False) else ""


def arm_host() -> None:
    """Every effect of every request, every rebuilt device, taking on and answering a request."""
    from rocks.storage.host import copies, engine, service
    from rocks.storage.store import host as store

    dying_at(
        lambda self, effect, zvol, job: f"{type(job.request).__name__}-{_effect(effect)}",
        engine.HostEngine,
        "_do",
    )
    # no request leads to the effects of a rebuild
    engine.HostEngine._rebuild_next = _rebuilding(engine.HostEngine._rebuild_next)  # type: ignore[method-assign]
    dying_at(_rebuilt_name, service.HostHandlers, "do")
    for name in ("begin", "answer"):
        dying_at(lambda *arguments, name=name: f"request-{name}", store.HostStore, name)
    dying_in_stream(copies, "receive_all")
    dying_in_stream(copies, "send_all")


def arm_nas() -> None:
    """Every effect of every step, every record of an event, every question to a host, every answer to a command."""
    from rocks.storage.nas import engine, service, transfers
    from rocks.storage.store import nas as store

    dying_at(
        lambda self, image, work, effect: f"{work.step}-{_effect(effect)}",
        engine.Engine,
        "_do",
    )
    dying_at(_record_name, engine.Engine, "_record")
    dying_at(lambda self, image, work, effect: f"ask-{work.step}", service.NasService, "_ask_host")
    dying_at(lambda *arguments: "operation-answer", store.NasStore, "answer")
    dying_in_stream(transfers, "receive_all")
    dying_in_stream(transfers, "send_all")


def _record_name(self: Any, image: Any, event: Any, decision: Any) -> str:
    new = decision.image
    step = "none" if new is None or new.work is None else f"{new.work.step}{new.work.position}"
    return f"record-{type(event).__name__}-{image.state}-{'gone' if new is None else new.state}-{step}"


def main(role: str, moments: str) -> int:
    """Run the daemon of that role, to die at those steps."""
    global _pattern
    _pattern = re.compile(moments)
    MARKERS.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, _MODULES)
    if role == "nas":
        from rocks.storage.nas.__main__ import main as run

        arm_nas()
    else:
        from rocks.storage.host.__main__ import main as run

        arm_host()
    return run([])


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2])
    sys.stdout.flush()
    os._exit(status)
