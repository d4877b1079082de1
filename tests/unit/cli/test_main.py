"""From arguments to a command, and from its outcome to an exit status."""

import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocks.commands._framework import run_command
from rocks.commands._framework.base import Command
from rocks.commands._framework.tree import OUR_TREE, longest_prefix
from rocks.core import callers
from tests.command_trees import SHOW, TAKEN, WriteCommand, usage_line
from tests.unit.cli.conftest import Rocks

HELP = f"""rocks frob {TAKEN}

Description:

\tDo it.

Arguments:

\t[host]

\tHosts.
\tType: string.

Parameters:

\t[a=string]

\tA.
\tType: string.
"""


def test_without_arguments_an_introduction_is_printed(rocks: Rocks) -> None:
    status, output, error = rocks()
    assert (status, error) == (0, "")
    assert len(output.splitlines()) <= 25
    assert "rocks help start host vm" in output and " add cancel check " in output
    assert rocks() == rocks("--help") == rocks("-h")
    typed = [line.split("  ")[1] for line in output.splitlines() if line.startswith("  rocks ")]
    commands = [
        line.removeprefix("rocks ").split()
        for line in typed
        if not line.startswith(("rocks COMMAND", "rocks --"))
    ]
    assert len(commands) == 9
    for command_path in commands:
        assert longest_prefix(command_path, [OUR_TREE]), command_path


def test_the_version(rocks: Rocks) -> None:
    assert rocks("--version") == rocks("report", "version")
    assert rocks("--version").status == 0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lst host", "rocks list host"),
        ("list hots", "rocks list host"),
        ("list hots compute-0-0", "rocks list host"),
        ("host list", "rocks list host"),
        ("vm host strat web", "rocks start host vm"),
        ("start vm web", "rocks start host vm"),
        ("List host", "rocks list host"),
        ("Rocks lst host", "rocks list host"),
        ("list hosts compute-0-0", "rocks list host"),
    ],
)
def test_the_command_that_was_meant_is_printed(rocks: Rocks, typed: str, meant: str) -> None:
    status, output, error = rocks(*typed.split())
    assert (status, output) == (255, "")
    first, second = error.splitlines()
    assert first.startswith("error - invalid rocks command ")
    assert second.startswith(f"did you mean: {meant}")


def test_a_command_of_a_roll_that_is_not_enabled_is_answered_with_what_enables_it(rocks: Rocks) -> None:
    status, _, error = rocks("pragma", "boot", "dock6", "2")
    assert (status, error.splitlines()[1:]) == (255, ["did you mean: rocks enable roll pragma?"])


def test_a_word_of_commands_is_answered_with_some_of_them(rocks: Rocks) -> None:
    status, output, error = rocks("hots")
    assert (status, output) == (255, "")
    assert len(error.splitlines()) == 2 and "did you mean: rocks " in error and " host" in error
    assert "did you mean" not in rocks("Rocks").error


@pytest.mark.parametrize(
    ("typed", "meant"), [("list user", "nucleus user"), ("add tokens x", "nucleus token")]
)
def test_a_word_of_nucleus_is_answered_with_its_command(rocks: Rocks, typed: str, meant: str) -> None:
    status, output, error = rocks(*typed.split())
    assert (status, output) == (255, "")
    assert error.splitlines()[1] == f"did you mean: {meant}?"


def test_the_longest_prefix_is_the_command(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", SHOW)
    write_command("frob/vm", SHOW)
    assert rocks("frob", "vm", "x").output == "('frob', 'vm') ['x'] []\n"
    assert rocks("frob", "vmx", "vm").output == "('frob',) ['vmx', 'vm'] []\n"


def test_a_quoted_first_word_is_the_whole_command(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", SHOW)
    write_command("frob/vm", SHOW)
    write_command("frob/vm/deep", SHOW)
    assert rocks("frob vm", "deep").output == "('frob', 'vm') ['deep'] []\n"
    assert rocks("frob ", "vm").output == "('frob',) ['vm'] []\n"
    assert rocks("frob nothing", "vm").error.startswith('error - invalid rocks command "frob nothing"\n')


def test_attributes_of_a_cluster_are_those_of_its_hosts(rocks: Rocks) -> None:
    status, output, error = rocks("set", "cluster", "attr", "vc1", "colour", "red")
    assert (status, output) == (255, "")
    assert error == 'error - invalid rocks command "set cluster attr"\ndid you mean: rocks set host attr?\n'


@pytest.mark.parametrize(
    "word", ["nothing", "List", "", "list/host", "../list", "base", "tree", "list.host", "-x"]
)
def test_an_unknown_word(rocks: Rocks, word: str) -> None:
    status, output, error = rocks(word, "host")
    assert (status, output) == (255, "")
    assert error.splitlines()[0] == f'error - invalid rocks command "{word}"'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("class Command(:\n", "SyntaxError: "),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_command_that_cannot_be_imported_is_no_unknown_command(
    rocks: Rocks, write_command: WriteCommand, text: str, why: str
) -> None:
    folder = write_command("frob", SHOW)
    (folder / "__init__.py").write_text(text)
    status, output, error = rocks("frob")
    assert (status, output) == (1, "")
    assert error.startswith(f'Error: the command "frob" cannot be loaded: {why}')
    assert f"(in {folder})" in error
    assert error.count("\n") == 1


def test_a_broken_command_hides_no_other_from_the_listing(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", SHOW)
    (folder / "__init__.py").write_text("import no_such_module_at_all\n")
    status, output, error = rocks("help", "all")
    assert status == 0
    assert "list host [host] ... [status=bool]" in output.splitlines()
    assert error.startswith('Warning: the command "frob" cannot be loaded: ModuleNotFoundError')


def test_a_fault_in_a_command_is_one_line_that_asks_for_a_report(
    rocks: Rocks, write_command: WriteCommand, tree: Path
) -> None:
    write_command("frob", "self.addText('before')\nraise KeyError('x')")
    status, output, error = rocks("frob")
    assert (status, output) == (1, "before\n")
    assert error.startswith(
        f"Error: \"frob\" has a fault (KeyError: 'x'; {tree}/frob/__init__.py, line 15); uncommitted"
    )
    assert error.count("\n") == 1


def test_a_fault_of_an_author_is_located_in_the_authors_file(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    """Although it was raised in Python's own modules, or in ours, which that line called."""
    for body, name in (
        ("import json\njson.loads('{')", "JSONDecodeError"),
        ("self.addOutput()", "TypeError"),
        ("self.endOutput(header=5)\nself.addText(5 + 'a')", "TypeError"),
    ):
        folder = write_command(f"frob{name.lower()}{len(body)}", body)
        status, output, error = rocks(folder.name)
        assert (status, output) == (1, "")
        assert f'Error: "{folder.name}" has a fault ({name}: ' in error
        assert f"; {folder}/__init__.py, line " in error and "its author must fix it" in error
        assert error.count("\n") == 1 and "Traceback" not in error


def test_the_trace_is_printed_on_request(
    rocks: Rocks, write_command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_command("frob", "raise KeyError('x')")
    monkeypatch.setenv("ROCKSDEBUG", "1")
    assert "Traceback" in rocks("frob").error


def test_the_trace_of_a_command_that_cannot_be_loaded(
    rocks: Rocks, write_command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    (write_command("frob", SHOW) / "__init__.py").write_text("import no_such_module_at_all\n")
    monkeypatch.setenv("ROCKSDEBUG", "1")
    error = rocks("frob").error
    assert "Traceback" in error
    assert '__init__.py", line 1' in error
    assert 'the command "frob" cannot be loaded' in rocks("help", "frob").error


def test_arguments_reach_the_command(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", SHOW)
    assert rocks("frob", "a=1", "", "select x=1", "json=no", "help").output == (
        "('frob',) ['', 'select x=1', 'help'] [('@ROCKSPARAM0', 'a=1'), ('a', '1'), ('json', 'no')]\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["h1", "colour=red"], '"frob" knows no parameter "colour"; it knows a'),
        (["A=1"], '"frob" knows no parameter "A"; did you mean a=?'),
        (["jsn=yes"], '"frob" knows no parameter "jsn"; did you mean json=?'),
        (["format=raw"], '"frob" knows no parameter "format"; it knows a'),
        (["host=h1"], '"frob" takes the argument "host" without its name: write its value alone'),
        (["a=1", "a=1"], 'the parameter "a" is given twice'),
        (["json=maybe"], '"json" must be yes or no, not "maybe"'),
        (["output-header="], '"output-header" must be yes or no, not ""'),
    ],
)
def test_what_a_command_does_not_declare_is_an_error_and_nothing_is_done(
    rocks: Rocks, write_command: WriteCommand, arguments: list[str], message: str
) -> None:
    write_command("frob", "self.showNow('done')")
    assert rocks("frob", *arguments) == (1, "", f"Error: {message}\n{usage_line('frob')}")


def test_parameters_of_every_command(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "self.addText('done')")
    assert rocks("frob", "json=no", "output-col=a", "output-header=no", "a=1").output == "done\n"


def test_the_service_of_owners_takes_the_parameter_of_rocks(rocks: Rocks) -> None:
    assert '"foreground" must be yes or no' in rocks("start", "service", "airboss", "foreground=x").error
    refused = rocks("start", "service", "airboss", "foreground=yes", "port=0").error
    assert 'port "0" must be an integer from 1 to 65535' in refused


def test_arguments_beyond_the_declared_ones_are_an_error(rocks: Rocks) -> None:
    assert rocks("report", "version", "nonsense").error.splitlines()[0] == (
        'Error: "report version" takes no argument, but 1 argument is given; quote a value that contains blanks'
    )
    assert rocks("report", "nextip", "private", "private").error.splitlines()[0] == (
        'Error: "report nextip" takes {subnet}, but 2 arguments are given; quote a value that contains blanks'
    )


def test_a_command_may_take_parameters_of_any_name(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", SHOW)
    text = (folder / "__init__.py").read_text()
    (folder / "__init__.py").write_text(
        text.replace("MustBeRoot = 0", "MustBeRoot = 0\n    TakesAnyParameter = True")
    )
    assert "('colour', 'red')" in rocks("frob", "colour=red").output


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_instead_of_running(rocks: Rocks, write_command: WriteCommand, word: str) -> None:
    write_command("frob", "raise KeyError('must not run')")
    assert rocks("frob", word) == (0, HELP, "")


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("plain", "rocks list host [host] ... [status=bool]\n\nDescription:\n"),
        ("raw", "List the hosts with "),
        ("parsed", '{\n    "command": "list host"'),
        ("docbook", '<section id="rocks-list-host"'),
        ("sphinx", "list host\n---------\n"),
    ],
)
def test_help_in_every_format(rocks: Rocks, name: str, begin: str) -> None:
    assert rocks("list", "host", "help", f"format={name}").output.startswith(begin)


def test_help_in_no_such_format(rocks: Rocks) -> None:
    status, _, error = rocks("list", "host", "help", "format=x")
    assert status == 1
    assert error.startswith('Error: no such help format "x"; use plain, raw, parsed, docbook or sphinx\n')


def test_help_finds_lines_with_the_text(rocks: Rocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = rocks("help", "host", "attr").output.splitlines()
    assert any(line.startswith("list host attr ") for line in lines)
    assert all("host attr" in line for line in lines)
    assert rocks("help", "optional").status == 1


def test_the_listing_is_wrapped(rocks: Rocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    whole = rocks("list", "help", "subdir=add", "cols=0").output
    narrow = rocks("list", "help", "subdir=add", "cols=40").output
    assert max(map(len, whole.splitlines())) > 80
    assert narrow.replace("\n\t", " ") == whole
    assert all(len(line.expandtabs(8)) <= 40 for line in narrow.splitlines())
    monkeypatch.setenv("COLUMNS", "40")
    assert rocks("list", "help", "subdir=add", "cols=0").output == narrow
    monkeypatch.setenv("COLUMNS", "")
    assert rocks("list", "help", "subdir=add", "cols=0").output == whole


def test_arguments_cannot_break_the_line_of_an_error(rocks: Rocks) -> None:
    status, _, error = rocks("report", "version", "major=a\nError: b\x1b[2J\x85")
    assert status == 1
    assert error.splitlines()[0] == r'Error: "major" must be yes or no, not "a\nError: b\x1b[2J\x85"'


def test_an_error_of_a_change_is_json_where_that_is_requested(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    """Unless the command has printed something, which may be a document."""
    fail = "from rocks.core.errors import Code, HostError\nraise HostError('no', code=Code.POOL_FULL)"
    for name, before in (("one", ""), ("two", "self.showNow('[]')\n"), ("three", "self.addText('[]')\n")):
        write_command(name, before + fail)
    assert [rocks(name).output for name in ("one", "two", "three")] == ["", "[]", "[]\n"]
    assert json.loads(rocks("one", "json=yes").output) == [{"error": {"family": "host", "code": "pool_full"}}]
    assert [rocks(name, "json=yes").output for name in ("two", "three")] == ["[]", "[]\n"]


def test_arguments_that_are_not_utf8(rocks: Rocks) -> None:
    assert rocks("list", "host", "a\udcff") == (1, "", "Error: 'a\\udcff' is not UTF-8 text\n")


def test_output_gets_the_newline_it_lacks(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("one", "self.addText('x')")
    write_command("two", "self.addText('x\\n')")
    write_command("none", "pass")
    assert [rocks(word).output for word in ("one", "two", "none")] == ["x\n", "x\n", ""]


def test_without_a_database_what_needs_none_runs(rocks: Rocks) -> None:
    for command_path in (("report", "version"), ("report", "distro"), ("report", "dbhost"), ("list", "help")):
        assert rocks(*command_path).status == 0
    assert rocks("report", "distro").output == "/export/rocks/install\n"


def test_without_a_database_other_commands_name_its_address(rocks: Rocks) -> None:
    status, output, error = rocks("list", "host")
    assert (status, output) == (1, "")
    assert error.startswith("Error: cannot reach the cluster database at /nowhere/mysql.sock: ")
    assert error.count("\n") == 1


def test_wrong_settings_of_the_database_stop_only_those_that_need_it(
    rocks: Rocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "database.conf").write_text("prot = 3306\n")
    monkeypatch.setenv("ROCKS_DATABASE_FILE", str(tmp_path / "database.conf"))
    assert rocks("report", "version").status == 0
    for command_path in (("list", "host"), ("report", "dbhost"), ("report", "database")):
        status, output, error = rocks(*command_path)
        assert (status, output) == (1, "")
        assert "database.conf line 1: 'prot = 3306' is not one of" in error


def test_calls_are_logged_without_secrets(
    rocks: Rocks, write_command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(run_command, "log", lines.append)
    monkeypatch.setattr(callers, "_login", lambda: "")
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="alice"))
    folder = write_command("frob", "pass")
    text = (folder / "__init__.py").read_text()
    (folder / "__init__.py").write_text(text.replace("name='a'", "name='password'"))
    rocks("frob", "h1", "password=geheim", "json=no")
    assert lines == ['user alice called "frob h1 password=*** json=no"']


def test_the_log_names_the_person(
    rocks: Rocks, write_command: WriteCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under sudo all commands are those of root: the caller, and the login that the kernel recorded, say whose."""
    lines: list[str] = []
    monkeypatch.setattr(run_command, "log", lines.append)
    monkeypatch.setattr(callers, "_login", lambda: "1000")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="root"))
    monkeypatch.setenv("SUDO_USER", "alice")
    write_command("frob", "pass")
    rocks("frob")
    assert lines == ['user root (sudo alice, login uid 1000) called "frob"']


@pytest.mark.parametrize(
    ("must_be_root", "user_id", "name", "may"),
    [(1, 0, "root", True), (1, 48, "apache", True), (1, 1000, "alice", False), (0, 1000, "alice", True)],
)
def test_who_may_run_a_command(
    must_be_root: int, user_id: int, name: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user_id)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name=name))
    command_class = type("Some", (Command,), {"MustBeRoot": must_be_root})
    assert run_command.may_run(command_class) is may


def test_c7_an_error_is_cut_at_a_screens_length(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "from rocks.core.errors import StateError\nraise StateError('x' * 100_000)")
    error = rocks("frob").error
    assert error == f"Error: {'x' * 1600} … (98400 more characters; ROCKSDEBUG=1 prints all)\n"
