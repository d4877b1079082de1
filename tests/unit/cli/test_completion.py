"""What may follow at the cursor of a command line."""

import subprocess  # noqa: TID251 - what one process imports
import sys
from pathlib import Path

import pytest

from rocks.cli.completion import main, split
from rocks.commands._framework.completion import _declared, completions
from rocks.commands._framework.declarations import taken_by
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.site.completion import KINDS
from tests.command_trees import WriteCommand

TREES = [OUR_TREE]
HEAVY = {"asyncio", "dataclasses", "inspect", "json", "logging", "lxml", "paramiko", "pymysql", "subprocess"}


def offered(*texts: str) -> list[str]:
    """The texts that may follow; the last argument is at the cursor."""
    return completions(texts[:-1], texts[-1], TREES).texts


def kinds(*texts: str) -> list[str]:
    """The kinds of objects whose names may follow."""
    return completions(texts[:-1], texts[-1], TREES).kinds


def test_words_of_commands() -> None:
    assert {"add", "list", "start"} <= set(offered(""))
    assert not [word for word in offered("") if word.startswith("_")]
    assert offered("lis") == ["list"]
    assert offered("start", "host", "") == ["vm"]
    assert offered("help", "start", "host", "") == ["vm"]
    assert offered("nothing", "") == offered("..", "") == offered("_shared", "") == []


def test_parameters_that_are_not_given_yet() -> None:
    assert offered("list", "host", "vm", "sta") == ["status="]
    assert offered("list", "host", "vm", "vm-vc1-0", "status=yes", "sta") == []
    assert offered("list", "host", "js") == ["json="]


def test_values() -> None:
    assert offered("list", "host", "vm", "status=") == ["status=yes", "status=no"]
    assert offered("list", "host", "js", "json=n") == ["json=no"]
    assert offered("shell", "on-error=s") == ["on-error=stop"]
    assert offered("list", "os", "route", "l") == ["linux"]
    assert offered("list", "host", "nonsense=") == []


def test_kinds_of_objects() -> None:
    assert kinds("list", "host", "") == ["host"]
    assert kinds("set", "host", "attr", "h1", "") == ["host", "attr"]
    assert kinds("add", "host", "interface", "h1", "eth0", "subnet=p") == ["network"]
    found = completions(["add", "host", "interface", "h1", "eth0"], "subnet=p", TREES)
    assert found.all(lambda kind, beginning: [f"{kind}-{beginning}"]) == ["subnet=network-p"]


def test_what_a_declaration_says_of_a_value() -> None:
    """Where the name of a parameter is not the kind of object."""
    assert kinds("add", "cluster", "image=") == kinds("remove", "image", "") == ["image"]
    assert kinds("move", "host", "storageimg", "nas-0-0", "v", "to=n") == ["nas"]
    assert kinds("move", "host", "storageimg", "nas-0-0", "") == ["volume"]
    assert kinds("add", "appliance", "login", "graph=") == ["graph"]
    assert offered("set", "host", "power", "h1", "action=o") == ["action=on", "action=off"]
    assert offered("set", "host", "boot", "h1", "action=i") == ["action=install"]
    assert kinds("remove", "cluster", "") == ["virtualfrontend"]
    assert kinds("move", "host", "vm", "") == ["machine"]
    assert kinds("move", "host", "vm", "vm-a", "") == ["physicalhost"]
    assert kinds("add", "host", "partition", "h1", "device=") == []
    named = {
        it.of
        for command_path in all_commands(TREES)
        if hasattr(load_package(command_path, TREES), "Command")
        for it in taken_by(load_package(command_path, TREES).Command)
        if it.of
    }
    assert named <= KINDS | {"file", "folder", "none"} and len(named) > 10


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files or of folders only; what a shell would not read as it is, is left out."""
    for name in ("site-a", "site-b", ".hidden", "si$(te)", "si te", "site\x1b[2J"):
        (tmp_path / name).write_text("")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "inner").write_text("")
    found = [f"{tmp_path}/{name}" for name in ("site-a", "site-b", "sites/")]
    assert offered("load", "dump", f"{tmp_path}/si") == found
    assert offered("save", "site", f"file={tmp_path}/") == [f"file={path}" for path in found]
    assert offered("load", "dump", f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert offered("list", "host", "graph", f"basedir={tmp_path}/s") == [f"basedir={tmp_path}/sites/"]
    monkeypatch.chdir(tmp_path)
    assert offered("save", "site", "file=sites/") == ["file=sites/inner"]
    assert offered("save", "site", "file=/nowhere/x") == offered("save", "site", "file=\0") == []


def test_a_name_with_a_meaning_to_a_shell_is_not_offered() -> None:
    """It would be run, or would change the terminal."""
    hostile = ["h1", "$(reboot)", "a b", "x;y", "\x1b[2J", "`id`", "", "a'b", "host\nname", "a*"]
    assert completions(["list", "host"], "", TREES).all(lambda kind, beginning: hostile)[-1] == "h1"
    assert not set(hostile[1:]) & set(completions(["list", "host"], "", TREES).all(lambda *_: hostile))


def test_completion_knows_of_every_command_what_the_command_declares() -> None:
    """Commands are not imported for completion."""
    for command_path in all_commands(TREES):
        command = getattr(load_package(command_path, TREES), "Command", None)
        if command is not None:
            assert _declared(command_path, TREES) == taken_by(command), command_path


def test_another_roll_s_tree(
    tree: Path, write_command: WriteCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    write_command("list/tile", "pass")
    (tree / "list" / "$(x)").mkdir()
    found = completions(["list"], "", [OUR_TREE, str(tree)]).texts
    assert "tile" in found and "$(x)" not in found
    assert completions(["list", "tile"], "", [OUR_TREE, str(tree)]).texts == ["a=", "help"]


def test_code_of_another_tree_does_not_run_while_a_person_types(tree: Path) -> None:
    folder = tree / "list" / "os" / "tile"
    folder.mkdir(parents=True)
    code = f'open("{tree}/ran", "w")\n\n\nclass Command(Tiles, scope="os"): ...\n'
    (folder / "__init__.py").write_text(code)
    assert completions(["list", "os", "tile"], "", [OUR_TREE, str(tree)]).texts == []
    assert not (tree / "ran").exists()


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("rocks ", [""]),
        ("rocks li", ["li"]),
        ("rocks list host ", ["list", "host", ""]),
        ("A=1 rocks list", ["list"]),
        ("rocks add host attr h1 'a b' c", ["add", "host", "attr", "h1", "a b", "c"]),
        ("rocks add 'open ", []),
        ("", []),
        ("rocks", []),
        ("rocks #", ["#"]),
    ],
)
def test_a_line_up_to_the_cursor(line: str, texts: list[str]) -> None:
    assert split(line, "rocks") == texts


@pytest.mark.parametrize(
    "arguments",
    [
        ["line", "rocks", "rocks list host "],
        ["line", "rocks", "rocks list host vm st"],
        ["line", "rocks", "rocks add os route linux "],
        ["line", "rocks"],
        [],
        ["words"],
        ["line", "rocks", "rocks \udcff"],
    ],
)
def test_it_is_light_and_prints_no_error(arguments: list[str]) -> None:
    """In a process of its own: without a database, with arguments that no shell gives, too."""
    program = (
        "import sys\nfrom rocks.cli.completion import main\nassert main(sys.argv[1:]) == 0\n"
        f"sys.exit(' '.join(sorted({HEAVY!r} & set(sys.modules))) or 0)"
    )
    source = Path(main.__code__.co_filename).parents[2]
    ended = subprocess.run(
        [sys.executable, "-S", "-c", program, *arguments],
        env={"PYTHONPATH": str(source), "ROCKS_DATABASE_SOCKET": "/nowhere/mysql.sock"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
