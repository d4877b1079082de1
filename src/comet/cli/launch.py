"""`comet launch`: a computeset for one command, from its start to its end.

Each step is in the state of the group before it is done, and may be done again. So the same command continues a launch
that was killed at any moment. The computeset ends before the results are fetched: they are on the frontend.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional

from comet.cli.computesets import only_allocation
from comet.cli.context import Context, number, only_one, signals_as_interrupts, warn
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
from comet.client.launch_frontend import LARGEST_PART, Frontend
from comet.client.launchers import OUTPUT, Group, Launch, read_launcher
from comet.client.records import ClusterRecord, Computeset


def planned(context: Context, group: Group, folder: Path, count: Optional[int]) -> Launch:
    """A new launch, after all checks that need neither a computeset nor SSH."""
    launcher = read_launcher(folder, count)
    given = _given_set(context)
    if given is not None:
        launcher = replace(
            launcher, nodes=len(given.computes), walltime=given.walltime_mins or launcher.walltime
        )
    target = Path.cwd() / f"{group.name}-results"
    if os.path.lexists(target):
        raise UsageError(
            f"the results would go to {target}, which exists: remove it, or choose another --group"
        )
    cluster = _cluster(context) if given is None else context.client.cluster(given.cluster)
    front = cluster.frontend
    if front is None:
        raise RefusedError(f"cluster {cluster.name} has no frontend, through which its computes are reached")
    if front.power == "off":
        raise RefusedError(
            f"the frontend {front.name} is off, through which computes are reached: comet power on {cluster.name}"
        )
    if launcher.nodes > len(cluster.computes):
        raise UsageError(
            f"the launcher needs {launcher.nodes} nodes, and {cluster.name} has {len(cluster.computes)}"
        )
    endpoint = context.client.endpoint
    asked = (endpoint.url, endpoint.username, launcher, cluster.name)
    places = (front.pub_ip or front.name, str(target))
    if given is not None:
        return Launch(*asked, given.account, *places, computeset=given.id, created=given.created)
    return Launch(*asked, context.option("allocation") or only_allocation(context, cluster.name), *places)


def _given_set(context: Context) -> Optional[Computeset]:
    """The computeset of --computeset, which somebody has started; None without it."""
    asked = context.option("computeset")
    if asked is None:
        return None
    for option, text in (("count", "-n"), ("cluster", "--cluster"), ("allocation", "--allocation")):
        if context.option(option) is not None:
            raise UsageError(f"{text} is determined by computeset {asked}: leave {text} out")
    found = context.client.computeset(number(str(asked), "a computeset's number"))
    if found.state not in ("created", "submitted", "running"):
        raise UsageError(f"computeset {asked} is {found.state}: start another one, or leave out --computeset")
    return found


def _cluster(context: Context) -> ClusterRecord:
    """The chosen cluster, or the only one."""
    chosen = context.option("cluster")
    if chosen is not None:
        return context.client.cluster(chosen)
    return only_one(context.client.clusters(), "choose one with --cluster=NAME")


def demand_same(context: Context, group: Group, it: Launch, folder: Path, count: Optional[int]) -> None:
    """UsageError where the group is that of another launch."""
    endpoint, nodes, origin = context.client.endpoint, it.launcher.nodes, it.launcher.folder
    cluster = str(context.option("cluster") or it.cluster)
    asked = (endpoint.url, endpoint.username, str(folder.resolve()), nodes if count is None else count)
    if asked != (it.endpoint, it.username, origin, nodes) or cluster.casefold() != it.cluster.casefold():
        raise UsageError(
            f"group {group.name} was launched from {origin} with {nodes} nodes on {it.cluster}, as {it.username} at "
            f"{it.endpoint}: choose another --group, or launch it so again"
        )
    given = context.option("computeset")
    if given is not None and number(str(given), "a computeset's number") != it.computeset:
        raise UsageError(
            f"group {group.name} was not launched on computeset {given}, but on {it.computeset or 'one of its own'}: "
            "choose another --group, or leave out --computeset"
        )


# From the start to the end.


BOOT_SECONDS = 900.0
END_SECONDS = 600.0
WATCH_SECONDS = 15.0
PAUSE_SECONDS = 1.0
_KEY_SECONDS = 23 * 3600
"""So long a Nucleus surely knows the key of a request: it does for a day."""
_REFUSALS = ("not-enough-nodes", "quota-exceeded", "bad-allocation", "unknown-cluster")
"""Problems of the request itself, after whose answer no computeset of its key is there."""
_INTERRUPTED = 130


def launch(context: Context) -> int:
    folder = Path(context.arguments.launcher)
    group = Group(str(context.option("group") or folder.resolve().name))
    count = context.option("count")
    expected = None if count is None else number(str(count), "a number of computes")
    context.client.cache = None  # a change is never decided by the cache
    with group.locked(), signals_as_interrupts():  # the computeset is ended
        found = group.load()
        if found is None:
            found = planned(context, group, folder, expected)
            if found.computeset is not None:
                group.claim(found)
        else:
            demand_same(context, group, found, folder, expected)
        return _Run(context, group, found).go()


class _Run:
    """One launch that goes on, by one process."""

    def __init__(self, context: Context, group: Group, it: Launch) -> None:
        self.context, self.client, self.group, self.launch = context, context.client, group, it
        folder = f"comet-launch/{group.name}.{it.key[:8]}"
        self.frontend = Frontend(it.launcher.user, it.address, folder)
        self.is_new = it.step == "prepare"
        self.client.connection.report = self._say
        self._off: set[str] = set()

    def go(self) -> int:
        it, is_interrupted = self.launch, False
        if it.step == "ended":
            self._warn(it.problem or "it was launched, and its command succeeded")
            show(
                f"its results are in {it.results}; to launch it again choose another --group, or remove "
                f"{self.group.path}"
            )
            return it.status
        if it.step == "prepare":
            self._prepare()
        if it.step == "work":
            try:
                self._work()
            # whatever happens must not keep the computeset
            except (Exception, KeyboardInterrupt) as error:
                is_closed = isinstance(error, BrokenPipeError)  # nobody reads what it prints
                is_interrupted = is_closed or isinstance(error, KeyboardInterrupt)
                if it.computeset is None and not is_interrupted:
                    raise
                it.problem = "its output was closed" if is_closed else str(error) or "it was interrupted"
                it.status = _INTERRUPTED if is_interrupted else getattr(error, "exit_status", 1)
                self._warn(it.problem)
            self._try(lambda: self._save("end"))  # a full disk must not keep the computeset
        if it.step == "end":
            self._end()
        if it.step == "fetch" and is_interrupted:
            self._warn("what the command has written is on the frontend; the same command again fetches it")
        elif it.step == "fetch":
            self._fetch()
        return it.status

    def _prepare(self) -> None:
        """Make the folder on the frontend. What fails here leaves nothing, but a computeset that was given."""
        self._save()
        try:
            self.frontend.prepare()
        except UnreachableError as error:
            self.group.path.unlink(missing_ok=True)
            self._name_given()
            raise UnreachableError(
                f"{error}. {self.launch.cluster} is on: does ssh {self.frontend.login} reach it from here, and ask "
                "nothing?"
            ) from error
        except BaseException:
            self._forget()
            self._name_given()
            raise
        self.launch.step, self.launch.asked_at = "work", time.time()

    def _name_given(self) -> None:
        """Say that a computeset that was given goes on."""
        number = self.launch.computeset
        if number is not None:
            self._warn(
                f"computeset {number} goes on, and is charged: repeat the command, or comet terminate {number}"
            )

    def _work(self) -> None:
        """From the request for a computeset to the end of the command."""
        it = self.launch
        if it.computeset is None:
            self._save()
            self._start()
            self._save()
            self._say(f"computeset {it.computeset} is accepted; its nodes boot")
        if not it.has_run:
            one = self.context.new_waiter(self.context.option("wait", WAIT_SECONDS)).running(
                it.computeset or 0
            )
            it.created = it.created or one.created
            it.nodes, it.ends_at = (
                [node.name for node in one.computes],
                time.time() + 60 * it.launcher.walltime,
            )
            self._demand_running()
            self._wait_for_nodes()
            self.frontend.send(
                Path(it.launcher.folder), it.launcher.files, max(1.0, it.ends_at - time.time())
            )
            it.has_run = True
            self._save()
        self._say(f"the command runs on {it.cluster}, for {', '.join(it.nodes)}")
        self._follow_command()

    def _start(self) -> None:
        """Learn the number of the computeset: of a new one, or the one that the same request has started."""
        it, launcher, is_first = self.launch, self.launch.launcher, self.is_new
        self.is_new = False
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
        except CometError as error:
            # a repetition may be refused before Nucleus looks at the key: then the computeset may be there
            if (is_first and not error.may_be_done) or error.slug in _REFUSALS:
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
        offset, last, state, watched, is_started = 0, b"\n", "running", time.monotonic(), False
        while state == "running":
            text = b""
            try:
                if not is_started:
                    self.frontend.start(self.launch.launcher.command)
                is_started = True
                state, text = self.frontend.look(offset)
            except UnreachableError as error:
                self._say(f"{error}; trying again")
            offset, last = offset + len(text), text[-1:] or last
            show_text(decode(text))
            if state == "running":
                if time.monotonic() - watched >= WATCH_SECONDS:
                    self._demand_running()
                    watched = time.monotonic()
                time.sleep(PAUSE_SECONDS / 2)
        if last != b"\n":
            show_text("\n")
        if len(text) == LARGEST_PART:  # the computeset does not wait for that
            self._say(f"the rest of what it printed is in the file {OUTPUT} of its results")
        if state == "lost":
            raise OperationFailedError(
                "the command was killed on the frontend, or the frontend was restarted"
            )
        if state != "0":
            raise OperationFailedError(f"the command ended with exit status {state}")

    def _own_set(self) -> Optional[Computeset]:
        """The computeset. None if a site that was made anew has none of its number, or another one."""
        it = self.launch
        try:
            one = self.client.computeset(it.computeset or 0)
        except NotFoundError as error:
            if error.slug != "unknown-set":
                raise
            return None
        is_own = it.created in (None, one.created) or it.computeset in one.merged
        return one if is_own else None

    def _demand_running(self) -> None:
        """OperationFailedError if the computeset runs no more, or one of its nodes is off, twice seen."""
        it = self.launch
        name = f"computeset {it.computeset}"
        try:
            one = self._own_set()
        except NotFoundError:
            raise
        except CometError as error:
            if time.time() > it.ends_at:
                raise OperationFailedError(f"the walltime of {name} has passed") from None
            if not isinstance(error, UnreachableError):  # a token that has ended; too many requests
                self._say(f"{error}; the command goes on")
            return
        if one is None:
            raise OperationFailedError(f"the site has no {name} of this launch any more")
        if one.state != "running":
            raise OperationFailedError(f"{name} is {one.state}{one.why}, before the command ended")
        off = {node.name for node in one.computes if node.power == "off" and not node.stale}
        lost, self._off = sorted(off & self._off), off
        if lost:
            raise OperationFailedError(f"{', '.join(lost)} of {name} went off")

    def _end(self) -> None:
        """The computeset, then the command that was not at its end."""
        it = self.launch
        try:
            if it.computeset is None:
                self._start()
            self._end_set(it.computeset or 0)
        except KeyboardInterrupt:
            self._warn("its computeset may run on; the same command again ends it")
            raise
        if not it.has_run:
            self._forget()
            return
        if it.problem:
            try:
                self.frontend.stop()
            except CometError as error:
                self._warn(f"the command may run on at {self.frontend.login}: {error}")
        self._save("fetch")

    def _end_set(self, chosen: int) -> None:
        """Until the computeset is ending; a server that is away is waited for."""
        until, trouble = time.monotonic() + END_SECONDS, "it goes on"
        while time.monotonic() < until:
            try:
                one = self._own_set()
                if one is None or one.ended or one.state == "ending":
                    self._say(f"computeset {chosen} is {one.state if one else 'not there'}")
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
                f"{self.frontend.folder} of {self.frontend.login}. To give them up, remove {self.group.path}"
            ) from error
        self._save("ended")
        if not it.problem:
            self._try(self.frontend.remove)
        show(f"group {self.group.name}: its results are in {target}")

    def _fetch_into(self, target: Path) -> None:
        if os.path.lexists(target):
            raise OperationFailedError(f"{target} exists now: move it to another place")
        names, part = (OUTPUT, *self.launch.launcher.results), target.with_name(f".{target.name}.comet-part")
        found = self.frontend.fetch(names, part)
        for name in names:
            if name not in found:
                self._say(f"the command left no {name}")
        self.launch.fetched = part.stat().st_ino
        self._save()
        part.replace(target)

    def _save(self, step: str = "") -> None:
        self.launch.step = step or self.launch.step
        self.group.save(self.launch)

    def _forget(self) -> None:
        """Nothing of it goes on: the same command starts anew."""
        self._try(self.frontend.remove)
        self.group.path.unlink(missing_ok=True)

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
            warn(f"group {self.group.name}: {message}")
