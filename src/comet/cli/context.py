"""What every command works with: its arguments, the client, messages, questions."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from comet.cli.output import Column, Rows, columns, printed, safe, shortened, show
from comet.client.errors import NotFoundError, UsageError
from comet.client.hostlists import expand_hostlist

if TYPE_CHECKING:
    from comet.client.client import Client
    from comet.client.configuration import Configuration, Endpoint
    from comet.client.records import ClusterRecord, Node
    from comet.client.waiting import Waiter


_WATCH_SECONDS = 2.0
"""From one picture of --watch to the next; the server answers 304 while nothing has changed."""


class Context:
    """One command's run. The configuration is read and the client made when they are needed first.

    `passwords`: those that were asked for, where several commands are run in one process.
    """

    def __init__(self, arguments: Namespace, passwords: Optional[dict[Endpoint, str]] = None) -> None:
        self.arguments = arguments
        self._passwords = passwords
        self._client: Optional[Client] = None
        self.stale = False

    def option(self, name: str, default: Any = None) -> Any:
        return getattr(self.arguments, name, default)

    @property
    def form(self) -> str:
        return str(self.option("format", "table"))

    @property
    def is_old_form(self) -> bool:
        """Whether json and rest are as the old client printed them: with --legacy, and for callers of its name `cm`."""
        return bool(self.option("legacy")) or Path(sys.argv[0]).name == "cm"

    @property
    def client(self) -> Client:
        if self._client is None:
            from comet.client.cache import Cache, default_path
            from comet.client.client import Client

            endpoint = self.endpoint()
            if self.is_waiting:
                seconds(str(self.option("wait")), "--wait")  # before anything is asked of the server
            cache = Cache(default_path(), endpoint.url, endpoint.identity)
            self._client = Client(
                endpoint, timeout=self.timeout(), cache=cache, cached_only=bool(self.option("cached"))
            )
            self._client.connection.report = self.say
            if _is_read_by_somebody():
                self._client.connection.report_silence = self.say
            if self._passwords is not None:
                self._client.connection.passwords = self._passwords
        return self._client

    @property
    def goes_on(self) -> bool:
        """Whether something was asked for, or waited for, that goes on without this program."""
        return self._client is not None and self._client.goes_on

    def endpoint(self) -> Endpoint:
        """The chosen endpoint, with --ca."""
        found = self.configuration().endpoint(str(self.option("endpoint", "")))
        ca = self.option("ca")
        return found._replace(ca=str(ca)) if ca else found

    def configuration(self) -> Configuration:
        from comet.client.configuration import load

        chosen = self.option("config")
        found = load(Path(chosen) if chosen else None)
        for note in found.notes:
            warn(note)
        return found

    def timeout(self) -> float:
        return seconds(str(self.option("timeout", "30")), "--timeout")

    @property
    def is_waiting(self) -> bool:
        """Whether --wait was given."""
        return self.option("wait") is not None and not self.option("no_wait")

    def waiter(self) -> Optional[Waiter]:
        """What waits, with --wait."""
        return self.new_waiter(self.option("wait")) if self.is_waiting else None

    def new_waiter(self, limit: Any) -> Waiter:
        from comet.client.waiting import Waiter

        return Waiter(self.client, seconds(str(limit), "--wait"), self.say)

    def print(
        self,
        rows: Rows,
        chosen: tuple[Column, ...],
        raw: Optional[Callable[[], Any]] = None,
        keys: str = "",
    ) -> None:
        """Rows in the wanted format; `raw` gives the server's own document for --format=rest.

        `keys`: those of every row, where they are not the columns, for the header of a list without rows.
        """
        if self.form == "rest":
            self.print_document(raw() if raw else [dict(row) for row in rows])
        else:
            header = columns(*keys.split()) if keys and not rows and self.form == "csv" else chosen
            show(printed(rows, header, self.form, self.is_old_form))

    def print_document(self, document: Any) -> None:
        """A document as JSON, in the old form as a Python literal."""
        import json

        show(ascii(document) if self.is_old_form else json.dumps(document).replace("\x7f", "\\u007f"))

    def say(self, message: str) -> None:
        """A message, unless --quiet."""
        if not self.option("quiet"):
            warn(message)

    def confirm(self, question: str) -> None:
        """Go on only with a yes. UsageError without a terminal and --yes, or after a no."""
        if self.option("yes"):
            return
        if not is_terminal():
            raise UsageError(f"{question} Without a terminal nobody can answer: add --yes")
        if ask(f"{question} [y/N] ").lower() not in ("y", "yes"):
            raise UsageError("nothing was changed")

    def confirm_at_terminal(self, question: str) -> None:
        """As `confirm`, but without a terminal it goes on: for what scripts of the published client do unasked."""
        if is_terminal():
            self.confirm(question)

    def close(self) -> Optional[int]:
        """Close the client; 6 if what was shown may be old, and a line that says so."""
        if self._client is None:
            return None
        self._client.close()
        cache, at = self._client.cache, self._client.cached_at
        if cache is not None and cache.trouble:
            self.say(cache.trouble)
        if at is not None:
            from comet.client.durations import format_age

            age = format_age(time.time() - at)
            if self.option("cached"):
                self.say(f"as of {age} ago, from the cache")
                return None
            warn(f"{self._client.endpoint.url} does not answer; this is as of {age} ago, from the cache")
        elif self.stale:
            warn("the site has not answered the server for a while: states may be old")
        return 6 if at is not None or self.stale else None


def locate(context: Context, argument: str = "nodes") -> None:
    """Complete the command's arguments: without a cluster, the only one; for computes alone, the cluster that has them.

    An argument means computes if no cluster has this name, and exactly one cluster has the first of them.
    """
    given = context.arguments
    if given.cluster is None:
        given.cluster = only_one(context.client.clusters(), "name one").name
    elif getattr(given, argument) is None and re.search(r"-[0-9]+$|[\[,]", given.cluster):
        clusters, typed = context.client.clusters(), given.cluster
        if all(it.name.casefold() != typed.casefold() for it in clusters):
            first = expand_hostlist(typed)[0].casefold()
            found = [it.name for it in clusters if any(one.name.casefold() == first for one in it.computes)]
            if len(found) == 1:
                given.cluster = found[0]
                setattr(given, argument, typed)


def only_one(clusters: list[ClusterRecord], advice: str) -> ClusterRecord:
    """The only cluster. UsageError where there are several, or none."""
    if len(clusters) != 1:
        names = ", ".join(it.name for it in clusters)
        raise UsageError(
            f"you have several clusters; {advice}: {names}"
            if clusters
            else "you have no cluster: the site's operators give one to a project, and put you into it"
        )
    return clusters[0]


def watched(context: Context, print_once: Callable[[Context], None]) -> None:
    """Print once, or with --watch again and again in the place of what was printed, until Ctrl-C."""
    if not context.option("watch"):
        print_once(context)
        return
    if context.option("cached"):
        raise UsageError("--cached never asks the server: leave it out, or --watch")
    client = context.client
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            client.cached_at, text = None, io.StringIO()
            with contextlib.redirect_stdout(text):
                print_once(context)
            if client.cached_at is not None:
                text.write(f"{client.endpoint.url} does not answer; this was seen before\n")
            sys.stdout.write("\033[H\033[2J" * sys.stdout.isatty() + text.getvalue())
            sys.stdout.flush()
            time.sleep(_WATCH_SECONDS)


def computes_of(context: Context, names: Iterable[str]) -> dict[str, Node]:
    """The computes of the command's cluster by their names, casefolded: names match in whatever case.

    NotFoundError if one of the names is not among them.
    """
    cluster = context.arguments.cluster
    found = {it.name.casefold(): it for it in context.client.cluster(cluster).computes}
    missing = next((it for it in names if it.casefold() not in found), None)
    if missing is not None and missing.casefold() == cluster.casefold():
        raise NotFoundError(f"{cluster} is the frontend: give the cluster alone, without a node")
    if missing is not None:
        raise NotFoundError(f"cluster {cluster} has no compute {missing}. List them: comet cluster {cluster}")
    return found


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and the end of the terminal are as Ctrl-C: what must be undone is."""
    import signal

    with contextlib.ExitStack() as stack:
        for it in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(it) != signal.SIG_IGN:  # nohup ignores SIGHUP
                stack.callback(signal.signal, it, signal.signal(it, signal.default_int_handler))
        yield


def is_terminal() -> bool:
    """Whether somebody at a terminal can answer a question."""
    return sys.stdin.isatty()


def _is_read_by_somebody() -> bool:
    return sys.stderr.isatty()


def warn(message: str) -> None:
    """Lines on standard error, made safe for a terminal, without the rest of very long words."""
    sys.stderr.write("".join(shortened(line) + "\n" for line in message.splitlines()) or "\n")


def ask(question: str) -> str:
    """A line of the terminal; the question goes to standard error, which keeps standard output for data."""
    with answering():
        sys.stderr.write(safe(question))
        sys.stderr.flush()
        line = sys.stdin.readline()
    if not line:
        raise UsageError("no answer: standard input has ended")
    return line.strip()


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """While somebody answers a question: an interrupt says that nothing was changed, for questions come first."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\n")  # the question has no end of line
        raise KeyboardInterrupt("interrupted; nothing was changed") from None


def seconds(text: str, option: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 < found <= 10_000_000:
        raise UsageError(f"{option}={text}: give a number of seconds above 0")
    return found


def number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"'{text}' is not {what}")
    if len(text) > 15:
        raise UsageError(f"'{text}' is too large for {what}")
    return int(text)
