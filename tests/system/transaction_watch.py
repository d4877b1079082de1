"""Watches for transactions that are open while a command waits for a host, a daemon, a program or a person.

A row that such a transaction has locked stops every other command that needs it, for as long as the other side likes.
The watch replaces the functions that wait; the server itself says whether a transaction is open. It is part of every
command that the system tests run: in this process by `watch`, and in others by this file as their launcher, which
appends what it finds to the file that `ROCKS_WATCH_FILE` names.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS of the protocol
_FRAMES = 12


class Watch:
    """Collects what it finds in `found`: a line for each wait within a transaction."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._databases: list[Any] = []

    def install(self, replace: Callable[[object, str, object], None]) -> None:
        """Replace the functions that open databases and wait; `replace(owner, name, value)` is a monkeypatch's."""
        from rocks.cli import main
        from rocks.core import process
        from rocks.fleet import fleet
        from rocks.storage.bus import asker

        replace(main, "_open_database", self._opening(main._open_database))
        replace(fleet, "run_parallel", self._iterating(fleet.run_parallel))
        replace(asker.Asker, "ask_all", self._iterating(asker.Asker.ask_all))
        replace(process.subprocess, "Popen", self._calling(process.subprocess.Popen))
        replace(process.subprocess, "run", self._calling(process.subprocess.run))

    def _opening(self, function: Callable[[], Any]) -> Callable[[], Any]:
        def opened() -> Any:
            database = function()
            self._databases = [database]
            return database

        return opened

    def _calling(self, function: Any) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            # a program that is started in the background is not waited for
            if sys._getframe(1).f_code.co_name != "start_in_background":
                self._check(str(arguments[0]))
            return function(*arguments, **options)

        return called

    def _iterating(self, function: Any) -> Any:
        def iterated(*arguments: Any, **options: Any) -> Iterator[Any]:
            return self._results(function.__name__, iter(function(*arguments, **options)))

        return iterated

    def _results(self, what: str, results: Iterator[Any]) -> Iterator[Any]:
        while True:
            self._check(what)
            try:
                result = next(results)
            except StopIteration:
                return
            yield result

    def _check(self, what: str) -> None:
        # the threads of a fleet work while the main thread waits; only that one uses the database
        if threading.current_thread() is not threading.main_thread():
            return
        for database in self._databases:
            connection = getattr(database, "_connection", None)
            if connection is None or not connection.open:
                continue
            connection.ping(reconnect=False)
            if connection.server_status & _IN_TRANSACTION:
                where = [line for line in traceback.format_stack()[:-2] if "/src/rocks/" in line]
                self._report(f"{what[:80]}: changes={database._has_changes}\n{''.join(where[-_FRAMES:])}")


def append_to_file(text: str) -> None:
    """Report to the file that the environment names."""
    with Path(os.environ["ROCKS_WATCH_FILE"]).open("a") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2] / "src")
    sys.path.append(os.environ["ROCKS_SITE_PACKAGES"])
    Watch(append_to_file).install(setattr)
    from rocks.cli.main import main

    sys.exit(main(sys.argv[1:]))
