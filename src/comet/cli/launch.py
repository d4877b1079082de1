"""`comet launch`: a computeset for one command, from its start to its end.

Each step is in the state of the group before it is done, and may be done again. So the same command continues a launch
that was killed at any moment. The computeset ends before the results are fetched: they are on the frontend.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from comet.cli.context import Context, number, warn
from comet.cli.launch_plan import demand_same, frontend_of, planned
from comet.cli.output import show, show_text
from comet.cli.parser import WAIT_SECONDS
from comet.client.errors import (
    CometError,
    NotFoundError,
    OperationFailedError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from comet.client.frontend import LARGEST_PART
from comet.client.launch_state import Group, Launch
from comet.client.launchers import OUTPUT, read_launcher
from comet.client.records import Computeset

BOOT_SECONDS = 900.0
END_SECONDS = 600.0
WATCH_SECONDS = 15.0
PAUSE_SECONDS = 1.0
_COPY_SECONDS = 6 * 3600.0
_KEY_SECONDS = 23 * 3600
"""So long a Nucleus surely knows the key of a request: it does for a day."""
_REFUSALS = ("not-enough-nodes", "quota-exceeded", "bad-allocation", "unknown-cluster")
"""Problems of the request itself, after whose answer no computeset of its key is there."""
_RESERVE_BYTES = 64 << 20
_INTERRUPTED = 130


def launch(context: Context) -> int:
    folder = Path(context.arguments.launcher)
    group = Group(str(context.option("group") or folder.resolve().name))
    count = context.option("count")
    expected = None if count is None else number(str(count), "a number of computes")
    context.client.cache = None  # a change is never decided by the cache
    if not group.path.exists():
        read_launcher(folder, expected)
    with group.locked(), _signals():
        found = group.load()
        if found is None:
            found = planned(context, group, folder, expected)
        else:
            demand_same(context, group, found, folder, expected)
        return _Run(context, group, found).go()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal are as Ctrl-C: the computeset is ended."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {it: signal.getsignal(it) for it in (signal.SIGTERM, signal.SIGHUP)}
    changed = [it for it, handler in before.items() if handler != signal.SIG_IGN]  # nohup ignores SIGHUP
    try:
        for it in changed:
            signal.signal(it, interrupt)
        yield
    finally:
        for it in changed:
            signal.signal(it, before[it])


class _Run:
    """One launch that goes on, by one process."""

    def __init__(self, context: Context, group: Group, it: Launch) -> None:
        self.context, self.client, self.group, self.launch = context, context.client, group, it
        self.frontend = frontend_of(group, it)
        self.is_new = not group.path.exists()
        self.client.connection.report = self._say
        self._off: set[str] = set()

    def go(self) -> int:
        it, is_interrupted = self.launch, False
        if it.step == "ended":
            return self._show_outcome()
        if it.step in ("start", "wait", "copy", "run"):
            try:
                self._work()
            # whatever happens must not keep the computeset
            except (Exception, KeyboardInterrupt) as error:
                if it.step == "start" and not isinstance(error, KeyboardInterrupt):
                    raise
                is_interrupted = isinstance(error, KeyboardInterrupt)
                it.problem = str(error) or "it was interrupted"
                it.status = _INTERRUPTED if is_interrupted else getattr(error, "exit_status", 1)
                self._warn(f"group {self.group.name}: {it.problem}")
            self._try(lambda: self._to("end"))  # a full disk must not keep the computeset
        if it.step == "end":
            self._end()
        if it.step == "fetch" and is_interrupted:
            self._warn("what the command has written is on the frontend; the same command again fetches it")
        elif it.step == "fetch":
            self._fetch()
        return it.status

    def _work(self) -> None:
        """From the request for a computeset to the end of the command."""
        it, launcher = self.launch, self.launch.launcher
        if it.step == "start":
            self.group.save(it)
            self._start()
            self._say(f"computeset {it.computeset} is accepted; its nodes boot")
            self._to("wait")
        chosen = it.computeset or 0
        if it.step == "wait":
            one = self.context.new_waiter(self.context.option("wait", WAIT_SECONDS)).running(chosen)
            it.created = one.created
            it.nodes, it.ends_at = [node.name for node in one.computes], time.time() + 60 * launcher.walltime
            self._to("copy")
        if it.step == "copy":
            self._demand_running()
            self._wait_for_nodes()
            self.frontend.send(Path(launcher.folder), launcher.files, max(1.0, it.ends_at - time.time()))
            it.has_run = True
            self._to("run")
        self._look_whether_own()
        self._say(f"the command runs on {it.cluster}, for {', '.join(it.nodes)}")
        self._follow_command()

    def _start(self) -> None:
        """Learn the number of the computeset: of a new one, or the one that the same request has started."""
        it, launcher = self.launch, self.launch.launcher
        if time.time() - it.asked_at > _KEY_SECONDS:
            raise UsageError(
                f"group {self.group.name} asked for a computeset more than a day ago and had no answer: look at comet "
                f"computeset --cluster={it.cluster} --state=active, and remove {self.group.path}"
            )
        try:
            started = self.client.start(
                it.cluster, count=launcher.nodes, allocation=it.allocation, walltime=launcher.walltime,
                idempotency_key=it.key,
            )  # fmt: skip
        except UnreachableError as error:
            raise UnreachableError(
                f"{error}. The computeset may have been started: the same command again continues"
            ) from error
        except CometError as error:
            # a repetition may be refused before Nucleus looks at the key: then the computeset may be there
            if self.is_new or error.slug in _REFUSALS:
                self._forget()
            raise
        it.computeset = started.computeset

    def _wait_for_nodes(self) -> None:
        until = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                self.frontend.wait_for(self.launch.nodes)
                return
            except CometError as error:
                if time.monotonic() > until:
                    raise OperationFailedError(f"{error}, after {BOOT_SECONDS:g} s") from error
            self._demand_running()
            time.sleep(PAUSE_SECONDS)

    def _follow_command(self) -> None:
        """Print what the command prints, until it ends. OperationFailedError if it fails or cannot go on."""
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        offset, is_line_end, watched, is_started = 0, True, time.monotonic(), False
        state, text = "running", b""
        while state == "running":
            try:
                if not is_started:
                    self.frontend.start(self.launch.launcher.command)
                is_started = True
                state, text = self.frontend.look(offset)
            except UnreachableError as error:
                self._say(f"{error}; trying again")
                state, text = "running", b""
            offset, is_line_end = offset + len(text), text.endswith(b"\n") if text else is_line_end
            show_text(decode(text))
            if state == "running":
                if time.monotonic() - watched >= WATCH_SECONDS:
                    self._demand_running()
                    watched = time.monotonic()
                time.sleep(PAUSE_SECONDS / 2)
        if not is_line_end:
            show_text("\n")
        if len(text) == LARGEST_PART:  # the computeset does not wait for that
            self._say(f"the rest of what it printed is in the file {OUTPUT} of its results")
        if state == "lost":
            raise OperationFailedError("the command was ended from outside, or the frontend was restarted")
        if state != "0":
            raise OperationFailedError(f"the command ended with exit status {state}")

    def _demand_running(self) -> None:
        """OperationFailedError if the computeset runs no more, or one of its nodes is off, twice seen."""
        it = self.launch
        try:
            one = self.client.computeset(it.computeset or 0)
        except CometError as error:
            if isinstance(error, NotFoundError):
                raise
            if time.time() > it.ends_at:
                raise OperationFailedError(f"the walltime of computeset {it.computeset} has passed") from None
            if not isinstance(error, UnreachableError):  # a token that has ended; too many requests
                self._say(f"{error}; the command goes on")
            return
        self._demand_own(one)
        if one.state != "running":
            reason = f" ({one.end_reason})" if one.end_reason else ""
            raise OperationFailedError(
                f"computeset {one.id} is {one.state}{reason}, before the command ended"
            )
        off = {node.name for node in one.computes if node.power == "off" and not node.stale}
        lost, self._off = sorted(off & self._off), off
        if lost:
            raise OperationFailedError(f"{', '.join(lost)} of computeset {one.id} went off")

    def _look_whether_own(self) -> None:
        """As `_demand_own`, where the server says it; the command may have ended with its computeset."""
        try:
            one = self.client.computeset(self.launch.computeset or 0)
        except NotFoundError:
            raise
        except CometError:
            return
        self._demand_own(one)

    def _demand_own(self, one: Computeset) -> None:
        """OperationFailedError for another computeset of the same number, as of a site that was made anew."""
        if self.launch.created not in (None, one.created):
            raise OperationFailedError(
                f"computeset {one.id} is another one than this launch started; remove {self.group.path}"
            )

    def _end(self) -> None:
        """The computeset, then the command that was not at its end."""
        it = self.launch
        try:
            if it.computeset is None:
                self._start()
            self._end_set(it.computeset or 0)
        except KeyboardInterrupt:
            self._warn(f"group {self.group.name}: its computeset may run on; the same command again ends it")
            raise
        if not it.has_run:
            self._forget()
            return
        if it.problem:
            try:
                self.frontend.stop()
            except CometError as error:
                self._warn(f"the command may run on at {self.frontend.login}: {error}")
        self._to("fetch")

    def _end_set(self, chosen: int) -> None:
        """Until the computeset is ending; a server that is away is waited for."""
        until, trouble = time.monotonic() + END_SECONDS, "it goes on"
        while time.monotonic() < until:
            try:
                one = self.client.computeset(chosen)
                self._demand_own(one)
                if one.ended or one.state == "ending":
                    self._say(f"computeset {chosen} is {one.state}")
                    return
                self.client.terminate(chosen)
            except (UnreachableError, RefusedError) as error:
                trouble = str(error)
                time.sleep(PAUSE_SECONDS)
            except CometError as error:
                trouble = str(error)
                break
            time.sleep(PAUSE_SECONDS / 4)
        raise UnreachableError(
            f"computeset {chosen} is not ended: {trouble}. The same command again ends it, or its walltime"
        )

    def _fetch(self) -> None:
        it, target = self.launch, Path(self.launch.results)
        try:
            if not (it.fetched and target.exists() and target.stat().st_ino == it.fetched):
                self._fetch_into(target)
        except (CometError, OSError) as error:
            raise OperationFailedError(
                f"the results are not fetched: {error}. The same command again fetches them; until then they are in "
                f"{self.frontend.folder} of {self.frontend.login}"
            ) from error
        self._to("ended")
        if not it.problem:
            self._try(self.frontend.remove)
        show(f"group {self.group.name}: its results are in {target}")

    def _fetch_into(self, target: Path) -> None:
        names = (OUTPUT, *self.launch.launcher.results)
        sizes = self.frontend.sizes(names)
        for name in names:
            if name not in sizes:
                self._say(f"the command left no {name}")
        size, free = sum(sizes.values()), shutil.disk_usage(target.parent).free
        if size + _RESERVE_BYTES > free:
            raise OperationFailedError(
                f"they have {size >> 20} MB, and {free >> 20} MB are free in {target.parent}"
            )
        if os.path.lexists(target):
            raise OperationFailedError(f"{target} is there now: move it away")
        part = target.with_name(f".{target.name}.comet-part")
        self.frontend.fetch(list(sizes), part, _COPY_SECONDS)
        self.launch.fetched = part.stat().st_ino
        self.group.save(self.launch)
        part.replace(target)

    def _show_outcome(self) -> int:
        it, name = self.launch, self.group.name
        self._warn(
            f"group {name}: {it.problem}"
            if it.problem
            else f"group {name} was launched, and its command succeeded"
        )
        show(
            f"its results are in {it.results}; to launch it again choose another --group, or remove {self.group.path}"
        )
        return it.status

    def _to(self, step: str) -> None:
        self.launch.step = step
        self.group.save(self.launch)

    def _forget(self) -> None:
        """Nothing of it goes on: the same command starts anew."""
        self._try(self.frontend.remove)
        self.group.forget()

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except CometError as error:
            self._say(str(error))

    def _say(self, message: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the computeset must end
            self.context.say(message)

    def _warn(self, message: str) -> None:
        with contextlib.suppress(OSError):
            warn(message)
