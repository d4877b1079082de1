"""The program as a process: signals, full disks, imports, completion, and homes or shells that lack something."""

from __future__ import annotations

import ast
import fcntl
import json
import os
import pwd
import re
import signal
import stat
import subprocess  # noqa: TID251 - the program is started, interrupted and read
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comet.cli.completion import complete
from comet.cli.main import run
from comet.cli.parser import parser
from comet.client.cache import Cache, default_path
from comet.client.configuration import load
from comet.client.durations import walltime_to_minutes
from comet.client.errors import UsageError
from comet.client.files import replace_file
from tests.nucleus_server import PASSWORD, TOKEN, NucleusServer, cluster
from tests.unit.comet.conftest import Comet
from tests.unit.comet.launching import Launching
from tests.unit.comet.launching import it as it
from tests.waiting import wait_until

SOURCE = Path(__file__).resolve().parents[3] / "src"


def start(*typed: str, program: tuple[str, str] = ("-m", "comet"), **named: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, *program, *typed]
    named = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **named}
    return subprocess.Popen(command, text=True, env=environment, **named)  # type: ignore[call-overload,no-any-return]


def test_a_reader_that_has_enough_is_no_error(server: NucleusServer, configured: Path) -> None:
    server.clusters = [cluster(f"vc{number}", 1) for number in range(3000)]
    process = start("cluster")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


@pytest.mark.parametrize(("name", "read"), [("cm", ast.literal_eval), ("comet", json.loads)])
def test_cm_of_the_checkout_prints_the_old_form(
    server: NucleusServer, configured: Path, name: str, read: Callable[[str], object]
) -> None:
    """Also by a link of another folder; the published cmutil.py reads a literal of Python."""
    program = configured.parent / name
    program.symlink_to(SOURCE.parent / "bin" / name)
    done = subprocess.run(
        [program, "comet", "cluster", "vc2", "--format=rest"],
        capture_output=True,
        text=True,
        env={**os.environ, "COMET_CONFIG": str(configured)},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("None" in done.stdout) == (name == "cm") and read(done.stdout) == server.clusters


def test_a_full_disk_is_reported(server: NucleusServer, configured: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("ll", stdout=full)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == "the output cannot be written: No space left on device\n"


def test_ctrl_c_ends_a_wait_and_says_that_it_goes_on(server: NucleusServer, configured: Path) -> None:
    server.polls_until_done = 10**9
    process = start("power", "on", "vc2", "--wait")
    assert process.stdout is not None
    wait_until(
        lambda: any("/operation/" in path for _, path, _, _ in server.requests),
        lambda: f"it does not ask for the operation; its status is {process.poll()}: {server.requests}",
    )
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "comet operation list" in error
    assert "Traceback" not in error


def test_ctrl_c_while_nothing_was_asked_for_promises_nothing(server: NucleusServer, configured: Path) -> None:
    server.answers["/events"] = lambda handler: time.sleep(60)
    process = start("events", "--follow")
    wait_until(lambda: bool(server.requests), lambda: f"it asks for nothing; its status is {process.poll()}")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "interrupted\n")


def test_ctrl_c_while_modules_are_imported_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "comet").mkdir()
    (tmp_path / "comet" / "__init__.py").write_text(
        "import time\nprint('now', flush=True)\ntime.sleep(60)\n", "utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-S", str(SOURCE / "comet" / "__main__.py"), "ll"],
        text=True,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_ctrl_c_at_a_question_says_that_nothing_was_changed(server: NucleusServer, configured: Path) -> None:
    server.start({"cluster": "vc2", "count": 1, "walltime_mins": 60})
    keyboard, terminal = os.openpty()
    process = start("terminate", "1", stdin=terminal)
    question = ""
    while not question.endswith("[y/N] "):
        question += process.stderr.read(1) or pytest.fail(question)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    os.close(keyboard)
    os.close(terminal)
    assert (process.returncode, error) == (130, "\ninterrupted; nothing was changed\n")
    assert {method for method, _, _, _ in server.requests} == {"GET"}


def test_two_at_once_share_a_cache(server: NucleusServer, configured: Path) -> None:
    processes = [start("ll") for _ in range(3)]
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (0, "")
        assert "vc2" in out
    server.close()
    out, error = start("ll").communicate(timeout=60)
    assert "vc2" in out and "ago, from the cache" in error, "it has what others have stored"


def imported(*typed: str) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = "import sys\nfrom comet.cli.main import program\nsys.argv = sys.argv[1:]\n"
    code += "try:\n  program()\nfinally:\n  sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, "comet", *typed],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return set(done.stderr.split())


def test_a_command_imports_only_what_it_needs(server: NucleusServer, configured: Path) -> None:
    found = imported("ll")
    assert "comet.client.cache" in found
    assert found.isdisjoint(
        {"csv", "yaml", "rich", "webbrowser", "comet.client.waiting", "comet.cli.settings"}
    )
    assert found.isdisjoint({"asyncio", "urllib.request", "comet.client.uploads", "comet.client.websocket"})
    assert found.isdisjoint({"dataclasses", "inspect", "uuid"})
    assert imported("--complete", "1", "comet", "ini").isdisjoint(
        {"argparse", "http.client", "sqlite3", "dataclasses"}
    )


def test_only_the_parser_of_the_typed_command_is_made_and_refuses_the_same() -> None:
    made = parser(["cluster", "vc2", "--json"]).format_help()
    assert "cluster" in made and "reservation" not in made
    assert parser(["cluster", "--help"]).format_help() == parser().format_help()
    for typed in (
        ["nonsense", "ll"],
        ["power", "nonsense"],
        ["power"],
        ["ll", "--jsn"],
        ["ll", "vc1", "vc2"],
    ):
        refusals = []
        for one in (parser(), parser(typed)):
            with pytest.raises(UsageError) as refusal:
                one.parse_args(typed)
            refusals.append(str(refusal.value))
        assert refusals[0] == refusals[1]


def completed(*typed: str) -> list[str]:
    process = start("--complete", *typed)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    return out.split("\n")[:-1]


def test_completion_offers_words_options_and_names_of_the_cache(
    server: NucleusServer, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed("1", "comet", "c") == [
        "cache",
        "clone",
        "cluster",
        "completion",
        "computeset",
        "console",
    ]
    assert completed("2", "comet", "power", "") == ["off", "on", "reboot", "reset", "shutdown"]
    assert completed("2", "comet", "cluster", "v") == []
    assert start("ll").wait(60) == 0
    assert start("iso", "list").wait(60) == 0
    assert completed("2", "comet", "cluster", "v") == ["vc2"]
    assert completed("4", "comet", "power", "off", "vc2", "vm-vc2-") == [f"vm-vc2-{it}" for it in range(4)]
    assert completed("3", "comet", "clone", "vc2", "vm-vc2-3") == ["vm-vc2-3"]
    assert completed("3", "comet", "image", "attach", "d") == ["debian.iso"]
    assert completed("4", "comet", "power", "on", "--wait", "v") == ["vc2"]
    assert completed("2", "comet", "cluster", "--st") == ["--status", "--state="]
    assert completed("3", "comet", "cluster", "vc2", "--sort=c") == [
        "--sort=computeset",
        "--sort=cluster",
        "--sort=cpus",
    ]
    assert completed("2", "comet", "--endpoint", "d") == ["dev"]
    assert completed("3", "comet", "iso", "upload", "x") == ["//file"]
    assert completed("9", "comet", "bogus", "") == []
    assert completed("x") == []
    assert len(server.requests) == 2
    other = Cache(default_path(), server.url, "bob/")
    other.put("/nucleus/v1/cluster/", b'[{"name": "vc7"}]', "")
    other.put("/nucleus/v1/cluster/cluster/", b'{"name": "cluster"}', "")
    assert completed("2", "comet", "cluster", "v") == ["vc7"], "the newest answer"
    assert completed("2", "comet", "terminate", "") == []
    other.put(
        "/nucleus/v1/cluster/",
        b'[{"computes": [{"active_computeset": 12}, {"active_computeset": 3}, {}]}]',
        "",
    )
    assert (
        completed("2", "comet", "terminate", "") == completed("3", "comet", "merge", "3", "") == ["3", "12"]
    )
    other.close()
    monkeypatch.setenv("COMET_ENDPOINT", "another")
    assert completed("2", "comet", "cluster", "v") == []


@pytest.mark.slow
def test_the_shells_take_the_scripts() -> None:
    for shell in ("bash", "zsh", "fish"):
        text, _ = start("completion", shell).communicate(timeout=60)
        assert "comet --complete" in text
    script, _ = start("completion", "bash").communicate(timeout=60)
    code = f"{script}\ncomet() {{ :; }}\nCOMP_WORDS=(comet '') COMP_CWORD=1\n_comet\ncomplete -p comet"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "complete -F _comet comet\n"


def test_completion_in_bash_completes_a_command(configured: Path, tmp_path: Path) -> None:
    program = tmp_path / "comet"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{SOURCE}" exec "{sys.executable}" -m comet "$@"\n')
    program.chmod(0o755)
    script, _ = start("completion", "bash").communicate(timeout=60)
    code = f'{script}\nCOMP_WORDS=(comet power re) COMP_CWORD=2\n_comet\necho "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.stdout == "reboot reset\n"


def test_the_sources_are_python_3_9_and_stand_alone() -> None:
    for path in sorted((SOURCE / "comet").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"), str(path), feature_version=(3, 9))
        names = [it.module or "" for it in ast.walk(tree) if isinstance(it, ast.ImportFrom)]
        names += [alias.name for it in ast.walk(tree) if isinstance(it, ast.Import) for alias in it.names]
        allowed = {"comet", "yaml", "tomli"}
        if path.parent.name == "clouds":
            allowed.add("requests")  # which comes with Libcloud
        assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) <= allowed, path


@pytest.mark.parametrize("name", ["Client", "Cluster", "Comet", "RefusedError", "expand_hostlist"])
def test_the_package_has_what_programs_import(name: str) -> None:
    import comet

    assert getattr(comet, name).__name__ == name
    assert name in comet.__all__


def test_old_python_names_still_work(server: NucleusServer, configured: Path) -> None:
    code = """
import json
from comet import Cluster, Comet
number = Cluster.computeset_start("vc2", "vm-vc2-[0-1]", walltime="1h")
Cluster.power("vc2", "RESOURCE", "vm-vc2-0", "off")
Cluster.power("vc2", "FE", None, "on")
Cluster.rename_node("vc2", "vm-vc2-[0-1]", "n[0-1]")
rows = [it["name"] for it in Cluster.list("vc2")]
Cluster.computeset_terminate(number)
print(json.dumps([number, rows, Comet.list_iso(), Comet.console_url("vc2"), Cluster.simple_list()[0]["count"]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    number, rows, images, url, count = json.loads(done.stdout)
    assert (number, count, images) == (1, 4, ["public/debian.iso"])
    assert rows == ["vc2", "n0", "n1", "vm-vc2-2", "vm-vc2-3"]
    assert url.startswith(server.url)


def test_help_names_the_command_that_a_word_resembles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "reservaton"]) == 2
    assert "Did you mean: comet reservation list" in capsys.readouterr().err


def test_comet_alone_shows_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of its lines is a command."""
    assert run([]) == 0
    printed = capsys.readouterr().out
    assert "comet init  " in printed
    for line in printed.splitlines():
        if line.startswith("  comet ") and " help " not in line:
            typed = re.split("  +", line.strip())[0].split()[1:]
            assert typed == ["--help"] or parser(typed).parse_args(typed)
    for word in ("key", "keys"):
        assert run(["help", word]) == 0
        assert "the site's operators" in capsys.readouterr().out


def test_who_has_no_cluster_reads_a_sentence(comet: Comet) -> None:
    comet.server.clusters = []
    for command in ("ll", "cluster"):
        printed = comet(command)
        assert printed.status == 0 and "you have no cluster" in printed.err and not printed.out
    assert comet("ll", "--format=json").out == "[]\n"


def test_a_name_of_300_characters_is_not_repeated_whole(comet: Comet) -> None:
    """Neither in an error, nor in a note, nor in the line of a machine among several."""
    for typed in (
        ("iso", "delete", "x" * 300),
        ("x" * 300,),
        ("start", "vc2", f"vm[{'x' * 300}"),
        ("power", "on", "x" * 300),
        ("power", "off", "vc2", f"vm-vc2-0,{'x' * 300}"),
        ("computeset", f"--cluster={'x' * 300}"),
    ):
        ended = comet(*typed)
        printed = ended.out + ended.err
        assert "x" * 40 in printed and "x" * 201 not in printed, (typed, printed)
        assert ended.status or typed[0] == "computeset", typed


@pytest.mark.parametrize("text", ["9999999999h", "99999999999m"])
def test_a_walltime_that_is_too_long_is_not_called_no_number(text: str) -> None:
    with pytest.raises(UsageError, match="is too long: give at most 9 digits"):
        walltime_to_minutes(text)


# Homes, terminals and shells that lack something, and two commands at once.


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


@pytest.mark.slow
def test_letters_that_a_terminal_lacks_are_escaped(server: NucleusServer, configured: Path) -> None:
    server.clusters[0]["description"] = "Gr\u00f6\u00dfe \u4e2d\udc80"
    for form in ("table", "csv"):
        status, out, error = started("ll", f"--format={form}", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
        assert (status, error) == (0, b"") and "Gr\u00f6\u00dfe \\u4e2d".encode("latin-1") in out


@pytest.mark.slow
def test_what_is_typed_may_be_no_text(server: NucleusServer, configured: Path) -> None:
    for typed in (("shell",), ("init", "--endpoint=x", f"--url={server.url}", "--user=ann")):
        status, _, error = started(*typed, stdin=b"ll \xff\n", PYTHONUTF8="0", PYTHONIOENCODING="utf-8")
        assert status in (2, 3) and b"Traceback" not in error, error


@pytest.mark.slow
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
