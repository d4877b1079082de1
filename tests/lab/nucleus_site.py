"""Nucleus over the lab's site: `nucleus executor` as root, `nucleus serve` as a user without rights, one owner.

Both run beside the lab's frontend, in its network, with its database and the real `rocks`, as on a site.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.machines.checkout import CHECKOUT
from lab.nucleus import OWNER, USER_ID
from lab.processes import ProcessIdentity, end, identify
from rocks.core.files import write_file
from rocks.core.process import Finished, run, run_checked, start_in_background
from tests.lab.lab_site import LabSite
from tests.patience import patience

SUBJECTS = (
    "src/nucleus",
    "src/owners",
    "roll/pragma/owners",
    "src/comet",
    "src/rocks/cli",
    "src/rocks/commands",
    "src/rocks/machine/listing.py",
)

PORT = 8372
URL = f"http://127.0.0.1:{PORT}/nucleus"
HOSTS = ("vmh1", "vmh2")
_PYTHON = "/usr/bin/python3"
COMET = (_PYTHON, "-S", "-m", "comet")
"""The owner's program, in `owner_environment`."""

_FOLDER = Path("/var/opt/rocks/nucleus")
"""Inside the lab's namespace; where the service's account can pass, though it may not in the checkout."""

_ROCKS = f"""\
#!{_PYTHON} -ES
import sys
sys.path[:0] = ["{_FOLDER}/sources", "{_FOLDER}/packages"]
from rocks.machine import listing
from rocks.cli.main import main
listing.STATUS_SECONDS = 90.0
sys.exit(main(sys.argv[1:]))
"""
"""`rocks` as on a site, but for the five seconds that a listing waits for a host: emulated ones need more."""

_SOCKET = "/var/opt/rocks/mysql/mysql.sock"
_GRACE_SECONDS = 10.0
_SECONDS = 300.0
_COMMAND_SECONDS = 1000.0
_REFUSED, _OLD = 5, 6
"""Exit statuses of `comet`: the state forbids it; the site, or the server, has not answered for a while."""

_AS_NUCLEUS = (
    *("/usr/bin/setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all", "--bounding-set=-all", "--"),
)


class NucleusSite:
    """The service on the site, and `comet` of its owner, who has `folder`.

    `batch` is that section of its settings, `variables` are added to the environment of its programs.
    """

    def __init__(
        self,
        site: LabSite,
        folder: Path,
        batch: Mapping[str, object] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.site, self.folder = site, folder
        self._batch: Mapping[str, object] = batch or {"hosts": list(HOSTS)}
        self._variables = variables or {}
        self._log_folder = site.lab.folder
        self._running: dict[str, ProcessIdentity] = {}

    def set_up(self, operator_commands: Sequence[Sequence[str]]) -> str:
        """Account, programs, settings, schema, then the operator's commands; returns what the last one printed."""
        ensure_account()
        shutil.rmtree(_FOLDER / "images", ignore_errors=True)
        for folder in (_FOLDER, _FOLDER / "images"):
            folder.mkdir(mode=0o755, exist_ok=True)
            os.chown(folder, USER_ID, USER_ID)
        (packages,) = (CHECKOUT / ".state" / "venv" / "lib").glob("python3.*/site-packages")
        # side by side, as in a checkout: `owners` finds parts of rolls there
        for name, source in {"sources": "src", "roll": "roll", "packages": packages}.items():
            _cover(CHECKOUT / source, _FOLDER / name)
        write_file(_FOLDER / "rocks", _ROCKS, mode=0o755)
        write_file(Path("/etc/rocks/nucleus.toml"), _settings(self._batch), mode=0o644)
        run_checked(
            ["mariadb", f"--socket={_SOCKET}", "-e", "DROP DATABASE IF EXISTS nucleus"],
            deadline_seconds=_SECONDS,
        )
        self.start_executor()
        printed = ""
        for arguments in operator_commands:
            printed = self.operator(*arguments)
        return printed

    def start_executor(self) -> None:
        """Have what runs `rocks` for the service, as root."""
        socket = _FOLDER / "executor.sock"
        socket.unlink(missing_ok=True)
        self._start("nucleus-executor", "executor")
        self._until(socket.exists, "nucleus-executor")

    def start_server(self) -> None:
        """Have the web service, with poller and workers, as a user without rights."""
        self._start("nucleus-serve", "serve", user=_AS_NUCLEUS)
        answers = ["curl", "--silent", "--fail", "--noproxy", "*", f"{URL}/metrics"]
        self._until(
            lambda: run(answers, deadline_seconds=_SECONDS).exit_status == 0,
            "nucleus-serve",
        )

    def kill_server(self) -> None:
        """End it by SIGKILL, in the middle of what it does."""
        end([self._running.pop("nucleus-serve")], 0)

    def stop(self) -> None:
        """End both."""
        for name in list(self._running):
            end([self._running.pop(name)], _GRACE_SECONDS)

    def operator(self, *arguments: str) -> str:
        """A command of `nucleus` that must succeed; returns its output."""
        program = [_PYTHON, "-m", "nucleus.cli", *arguments]
        return run_checked(
            program, deadline_seconds=_COMMAND_SECONDS, environment=_environment() | self._variables
        ).text

    def comet(self, line: str, **variables: str) -> Finished:
        """Run the owner's `comet` with the arguments in a line, whatever its exit status."""
        environment = self.owner_environment() | variables
        return run([*COMET, *line.split()], deadline_seconds=_COMMAND_SECONDS, environment=environment)

    def owner_environment(self) -> dict[str, str]:
        """Variables of the owner's programs."""
        settings = str(self.folder / "config.toml")
        sources = str(CHECKOUT / "src")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "COMET_CONFIG": settings,
            "PYTHONPATH": sources,
        }

    def does(self, line: str, *texts: str, status: int = 0, **variables: str) -> str:
        """Run `comet`, which must end with that exit status and print these texts; returns its output.

        It is run again while the reason is a host that answers late, as emulated ones do.
        """
        end_at = time.monotonic() + patience(_SECONDS)
        while _is_late(ended := self.comet(line, **variables), status):
            assert time.monotonic() < end_at, ended.error_text
        printed = f"comet {line}\n{ended.text}{ended.error_text}\n[exit status {ended.exit_status}]"
        print(printed, flush=True)  # the day, step by step, for who reads why it failed
        assert ended.exit_status == status, printed
        missing = [text for text in texts if text not in ended.text + ended.error_text]
        assert missing == [], printed
        return ended.text

    def _start(self, name: str, *arguments: str, user: Sequence[str] = ()) -> None:
        program = [*user, _PYTHON, "-m", "nucleus.cli", *arguments]
        number = start_in_background(
            program, self._log_folder / f"{name}.log", _environment() | self._variables
        )
        process = identify(number)
        assert process is not None, f"{name} ended at once: see {self._log_folder / name}.log"
        self._running[name] = process

    def _until(self, reached: Callable[[], bool], name: str) -> None:
        log = self._log_folder / f"{name}.log"
        end_at = time.monotonic() + patience(_SECONDS)
        while not reached():
            assert identify(self._running[name].process_id) == self._running[name], log.read_text("utf-8")
            assert time.monotonic() < end_at, f"{name} does not answer; see {log}"
            time.sleep(0.2)


def _is_late(ended: Finished, expected: int) -> bool:
    """Whether a host did not answer in time, and that was not expected."""
    is_unknown = ended.exit_status == _REFUSED and "its host did not answer" in ended.error_text
    return (ended.exit_status == _OLD or is_unknown) and ended.exit_status != expected


def _settings(batch: Mapping[str, object]) -> str:
    sections: dict[str, Mapping[str, object]] = {
        "executor": {"kind": "socket", "socket": f"{_FOLDER}/executor.sock", "program": f"{_FOLDER}/rocks"},
        "database": {"socket": _SOCKET},
        "batch": batch,
        "images": {"folder": f"{_FOLDER}/images"},
        "listen": {"address": "127.0.0.1", "port": PORT},
        # emulated hosts take longer to answer, and the counting guest does not shut down when it is asked
        "poll": {"power_seconds": 30, "topology_seconds": 60, "command_seconds": 240},
        "work": {"command_seconds": 240, "confirm_seconds": 240},
        "computesets": {"grace_seconds": 5, "reconcile_seconds": 10},
    }
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        for name, keys in sections.items()
    )


def _environment() -> dict[str, str]:
    """A service's own: nothing of the checkout's, which its account may not be able to read."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{_FOLDER}/sources:{_FOLDER}/packages",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def ensure_account() -> None:
    """The service's account, inside the namespace only."""
    line = f"nucleus:x:{USER_ID}:"
    for name, text in {"passwd": f"{line}{USER_ID}::/nonexistent:/usr/sbin/nologin", "group": line}.items():
        path, cover = Path("/etc") / name, Path("/var/opt/rocks") / f"{name}-with-nucleus"
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        if "\nnucleus:" in before:
            continue
        cover.write_text(f"{before.rstrip()}\n{text}\n", encoding="utf-8", errors="surrogateescape")
        cover.chmod(0o644)
        run_checked(["mount", "--bind", str(cover), str(path)], deadline_seconds=_SECONDS)


def _cover(source: Path, place: Path) -> None:
    place.mkdir(exist_ok=True)
    if not place.samefile(source):
        # what empties the folder one day must not reach the sources
        run_checked(["mount", "--bind", "-o", "ro", str(source), str(place)], deadline_seconds=_SECONDS)


__all__ = ["HOSTS", "OWNER", "URL", "NucleusSite", "ensure_account"]
