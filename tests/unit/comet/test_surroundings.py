"""Homes, terminals and shells that lack something, and two commands at once."""

import fcntl
import json
import os
import pwd
import stat
import subprocess  # noqa: TID251 - the program is started with closed descriptors
import sys
import time
from pathlib import Path

import pytest

from comet.cli.completion import complete
from comet.client.cache import Cache, default_path
from comet.client.configuration import load
from comet.client.files import replace_file
from tests.nucleus_server import PASSWORD, TOKEN, NucleusServer
from tests.unit.comet.conftest import Comet
from tests.unit.comet.launching import Launching
from tests.unit.comet.launching import it as it  # noqa: PLC0414 - a fixture
from tests.unit.comet.test_program import SOURCE

NO_FOLDER = "this user has no home folder: set HOME\n"


def test_without_a_folder_of_the_user_a_configuration_is_enough(
    comet: Comet, configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user is in no list."""

    def unknown(_: object) -> None:
        raise KeyError

    comet.patch.delenv("HOME")
    comet.patch.delenv("XDG_STATE_HOME", raising=False)
    comet.patch.setattr(pwd, "getpwuid", unknown)
    comet.patch.chdir(tmp_path)
    for typed in (("ll",), ("active",), ("init", "--user=ann"), ("cache", "show")):
        refused = comet(*typed)
        assert refused.status in (2, 6) and refused.err.endswith(NO_FOLDER), (typed, refused)
    listed = comet("ll", f"--config={configured}")
    assert listed.status == 0 and "vc2" in listed.out
    assert listed.err == f"the cache ~/.cache/comet/answers.sqlite is not used: {NO_FOLDER}"
    launched = comet("launch", "dock", f"--config={configured}")
    assert (launched.status, launched.err) == (2, NO_FOLDER)
    signed_in = ("init", "--user=ann", "--token-file=-", f"--config={configured}")
    assert comet(*signed_in, stdin=TOKEN).status == 0
    assert complete(["2", "comet", "cluster", ""]) == 0 and capsys.readouterr().out == ""
    assert not (tmp_path / "~").exists()


def test_a_configuration_of_another_user_is_named(
    comet: Comet, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with sudo, which may leave HOME as it was."""

    look = Path.stat

    def refuse(path: Path, **named: bool) -> os.stat_result:
        if path == configured:
            raise PermissionError(13, os.strerror(13), str(path))
        return look(path, **named)

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "read_text", lambda path, *_: refuse(path))
    refused = comet("ll")
    assert refused.status == 2 and refused.err == (
        f"{configured} cannot be read: [Errno 13] Permission denied: '{configured}'\n"
    )


def test_a_server_that_cannot_be_chosen_is_no_output_that_cannot_be_written(
    comet: Comet, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = configured.read_text()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    for typed in (("active", "dev"), ("init", "--user=ann", "--token-file=-")):
        refused = comet(*typed, stdin=TOKEN)
        assert (refused.status, refused.err) == (
            2, f"{configured} cannot be written: No space left on device\n"
        ), typed  # fmt: skip
    assert configured.read_text() == before


def test_no_token_is_made_that_cannot_be_written(comet: Comet) -> None:
    given = ("--endpoint=x", f"--url={comet.server.url}", "--user=ann", "--config=/proc/none/config.toml")
    refused = comet("init", *given, stdin=PASSWORD)
    assert refused.status == 2 and "/proc/none/config.toml cannot be written: " in refused.err
    assert comet.server.requests == []


def test_two_that_sign_in_at_once_lose_no_server(comet: Comet, configured: Path) -> None:
    """The second begins and ends while the first asks its server."""
    others = iter(("b", "c"))
    given = (f"--url={comet.server.url}", "--user=ann", "--token-file=-")

    def check(*_: object) -> None:
        name = next(others, None)
        if name is not None:
            assert comet("init", f"--endpoint={name}", *given, stdin=TOKEN).status == 0

    comet.patch.setattr("comet.cli.settings._check", check)
    assert comet("init", "--endpoint=a", *given, stdin=TOKEN).status == 0
    assert set(load(configured).endpoints) == {"a", "b", "c", "dev"}
    assert load(configured).active == "a"


def test_a_computeset_is_claimed_where_folders_cannot_be_locked(it: Launching) -> None:
    """As on NFS, which locks only what is open for writing."""
    lock = fcntl.flock

    def on_nfs(file: object, operation: int) -> None:
        number = file if isinstance(file, int) else file.fileno()  # type: ignore[attr-defined]
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(9, os.strerror(9))
        lock(number, operation)

    it.patch.setattr(fcntl, "flock", on_nfs)
    assert it.comet("start", "vc2", "--count=2").status == 0
    done = it.run("--computeset=1")
    assert done.status == 0 and it.runs() == 1, done.err


def test_a_launch_whose_state_somebody_removed_meanwhile_ends_as_it_does(it: Launching) -> None:
    it.write_programs(ssh=f"#!/bin/sh\nrm -f '{it.folder}'/.local/state/comet/launch/dock.json\nexit 255\n")
    refused = it.run()
    assert refused.status == 6 and "does ssh root@203.0.113.9 reach it from here" in refused.err


def started(
    *typed: str, stdin: bytes = b"", redirected: str = "", **environment: str
) -> tuple[int, bytes, bytes]:
    """Exit status, output and errors of a process that a shell has started with some descriptors closed."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "comet", *typed],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_letters_that_a_terminal_lacks_are_escaped(server: NucleusServer, configured: Path) -> None:
    server.clusters[0]["description"] = "Gr\u00f6\u00dfe \u4e2d\udc80"
    for form in ("table", "csv"):
        status, out, error = started("ll", f"--format={form}", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
        assert (status, error) == (0, b"") and "Gr\u00f6\u00dfe \\u4e2d".encode("latin-1") in out


def test_what_is_typed_may_be_no_text(server: NucleusServer, configured: Path) -> None:
    for typed in (("shell",), ("init", "--endpoint=x", f"--url={server.url}", "--user=ann")):
        status, _, error = started(*typed, stdin=b"ll \xff\n", PYTHONUTF8="0", PYTHONIOENCODING="utf-8")
        assert status in (2, 3) and b"Traceback" not in error, error


@pytest.mark.parametrize("redirected", [">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_descriptor_is_not_given_to_a_connection(
    server: NucleusServer, configured: Path, redirected: str
) -> None:
    assert started("power", "on", "vc2", redirected=redirected)[::2] == (0, b"")
    assert started("ll", redirected=redirected)[::2] == (0, b"")
    assert started("init", redirected=redirected)[0] == 2
    assert [method for method, *_ in server.requests] == ["PUT", "GET"]


def test_completion_offers_nothing_that_means_something_to_a_shell(
    comet: Comet, capsys: pytest.CaptureFixture[str]
) -> None:
    """bash types it as it is, and the next Enter would run it."""
    names = [f"vc2{it}" for it in (*";`' *|>\x1b\n\\", "$(id)", ".x", "")]
    cache = Cache(default_path(), comet.server.url, "ann/")
    cache.put("/nucleus/v1/cluster/", json.dumps([{"name": it} for it in names]).encode(), "")
    cache.close()
    capsys.readouterr()
    assert complete(["2", "comet", "cluster", "vc2"]) == 0
    assert capsys.readouterr().out == "vc2.x\nvc2\n"


def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """It stayed, with what a configuration or a launch has in it. One of an hour ago may be of a command at work."""
    killed = (
        "import os, pathlib, signal\n"
        "from comet.client.files import replace_file\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"replace_file(pathlib.Path({str(tmp_path)!r}) / 'config', 'text', 0o600)\n"
    )
    (tmp_path / ".comet.toml").touch()
    os.utime(tmp_path / ".comet.toml", (0, 0))
    for hours in (25, 1):
        subprocess.run(
            [sys.executable, "-c", killed], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False
        )
        left = max(tmp_path.glob(".comet.*.unfinished"), key=lambda path: path.stat().st_mtime)
        at = time.time() - hours * 3600
        os.utime(left, (at, at))
    replace_file(tmp_path / "config", "text", 0o600)
    assert {path.name for path in tmp_path.iterdir()} == {"config", ".comet.toml", left.name}
