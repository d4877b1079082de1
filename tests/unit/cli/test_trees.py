"""Commands of several trees, nested commands, and plugins: words that another tree adds, order, faults."""

import importlib
import sys
from pathlib import Path

import pytest

from rocks.core import trees
from tests.command_trees import SHOW, TAKEN, WriteCommand, forgotten_commands, usage_line, write_plugin
from tests.unit.cli.conftest import Rocks


def test_a_group_lists_what_is_below_it(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "")
    write_command("frob/one", SHOW)
    write_command("frob/two", SHOW)
    assert rocks("frob") == (255, f"frob one {TAKEN}\nfrob two {TAKEN}\n", "")
    status, output, error = rocks("frob", "nine")
    assert (status, output) == (255, ""), "a list of sixty commands hides the error"
    assert error.splitlines() == [
        'error - invalid rocks command "frob nine"',
        "frob is followed by one, two; rocks frob prints these commands",
    ]


def test_a_word_that_resembles_none_is_answered_with_where_all_are(rocks: Rocks) -> None:
    status, output, error = rocks("frobnicate")
    assert (status, output) == (255, "")
    assert error.splitlines() == [
        'error - invalid rocks command "frobnicate"',
        "rocks help lists the commands of every day, rocks help all every command",
    ]


def test_a_group_without_commands_says_so(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "")
    status, output, error = rocks("frob")
    assert (status, output) == (255, "")
    assert error.startswith('Error: there is no command below "frob" that you may run\n')


def test_the_roll_of_a_command(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", SHOW)
    assert '"roll": "base"' in rocks("list", "host", "help", "format=parsed").output
    with (folder / "__init__.py").open("a") as module:
        module.write('\nRollName = "kvm"\n')
    assert '"roll": "kvm"' in rocks("frob", "help", "format=parsed").output


def test_another_tree_adds_words_below_ours_and_new_ones(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "")
    write_command("frob/deep", "")
    write_command("frob/deep/er", SHOW)
    write_command("list/host/shade", SHOW)
    assert rocks("frob", "deep", "er").output == "('frob', 'deep', 'er') [] []\n"
    assert rocks("list", "host", "shade", "h1").output == "('list', 'host', 'shade') ['h1'] []\n"
    assert f"list host shade {TAKEN}" in rocks("list", "help", "subdir=list/host").output.splitlines()


def test_a_hook_has_an_argument_also_where_the_command_gives_none(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    write_plugin(write_command("frob", "self.runPlugins()"), "a", run="self.owner.addText(repr(host))")
    assert rocks("frob") == (0, "''\n", "")


def test_commands_inherit_the_shared_bases_of_rocks(rocks: Rocks, tree: Path) -> None:
    """In its roll `list host` has one of its own, and lists need no root. The mix-ins have nothing of their own."""
    bases = {
        "list/host/shade": "rocks.commands.HostArgumentProcessor, rocks.commands.list.host.command",
        "list/roll/shade": "rocks.commands.list.roll.command",
        "report/host/vm/shade": "rocks.commands.report.host.vm.command",
        "dump/shade": "rocks.commands.dump.command",
        "frob/deep/er": "rocks.commands.NetworkArgumentProcessor, rocks.commands.OSArgumentProcessor, "
        "rocks.commands.frob.deep.command",
    }
    for place, names in bases.items():
        (tree / place).mkdir(parents=True)
        run = "    def run(self, params, args):\n        self.addText(f'{self.MustBeRoot} {self.getOSNames()}')\n"
        (tree / place / "__init__.py").write_text(f"import rocks.commands\n\nclass Command({names}):\n{run}")
    assert rocks("list", "roll", "command", "help").status == 0
    for place in bases:
        must_be_root = int(place.startswith("frob"))
        assert rocks(*place.split("/")) == (0, f"{must_be_root} ['linux', 'sunos']\n", ""), place


@pytest.mark.parametrize("first", [False, True], ids=["imported-alone", "with-its-own-verb-in-use"])
def test_commands_inherit_bases_of_another_verb(rocks: Rocks, tree: Path, first: bool) -> None:
    """Of ours and of another command of the roll, in whatever order the verbs are used."""
    with forgotten_commands():
        for name in [name for name in sys.modules if name.startswith("rocks.commands.report")]:
            del sys.modules[name]
        run = "    MustBeRoot = 0\n    def run(self, params, args):\n        self.addText('{}')\n"
        for place, base, text in (
            ("report/host/shade", "rocks.commands.report.host.command", "reported"),
            ("list/host/shade", "rocks.commands.report.host.command", "listed"),
            ("list/host/tint", "rocks.commands.report.host.shade.Command", ""),
        ):
            (tree / place).mkdir(parents=True)
            imported = base.rpartition(".")[0]
            code = f"import rocks.commands\nimport {imported}\n\n\nclass Command({base}):\n"
            (tree / place / "__init__.py").write_text(code + (run.format(text) if text else "    pass\n"))
        if first:
            assert rocks("report", "host", "shade").output == "reported\n"
        assert rocks("list", "host", "tint") == (0, "reported\n", "")
        assert rocks("list", "host", "shade") == (0, "listed\n", "")


def test_a_command_reads_a_file_beside_itself(rocks: Rocks, write_command: WriteCommand) -> None:
    body = "import importlib.resources, pkgutil\n    beside = importlib.resources.files(__name__) / 'text'\n"
    run = "self.addText(pkgutil.get_data(__name__, 'text').decode() + beside.read_text())"
    folder = write_command("frob", run)
    (folder / "text").write_text("beside ")
    module = (folder / "__init__.py").read_text()
    (folder / "__init__.py").write_text(body.replace("    beside", "beside") + module)
    assert rocks("frob").output.strip() == "beside beside"


def test_a_base_is_not_one_of_a_command_with_the_name_command(rocks: Rocks, tree: Path) -> None:
    """`list roll command` is a module where other groups have their base."""
    (tree / "list/roll/foo").mkdir(parents=True)
    with forgotten_commands():
        importlib.import_module("rocks.commands.list.roll.command")
        assert rocks("list", "roll", "command", "help").status == 0
        importlib.import_module("rocks.commands.list.roll.foo")
        listed = sys.modules["rocks.commands.list"].command
        assert sys.modules["rocks.commands.list.roll.foo"].command is listed


def test_our_command_stays_ours_when_another_tree_has_it_too(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    write_command("report", "")
    write_command("report/version", "self.addText('theirs')")
    assert "theirs" not in rocks("report", "version").output


def test_trees_are_named_by_files_too(
    rocks: Rocks, write_command: WriteCommand, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_command("frob", SHOW)
    monkeypatch.delenv("ROCKS_TREES")
    (tmp_path / "trees.d").mkdir()
    monkeypatch.setattr(trees, "TREES_FOLDER", str(tmp_path / "trees.d"))
    assert rocks("frob").status == 255
    (tmp_path / "trees.d" / "roll").write_text(f"{tree}\n")
    assert rocks("frob").status == 0


@pytest.mark.parametrize("verb", ["output", "tables", "base", "names", "plugins", "tree", "arguments"])
def test_another_tree_may_add_any_verb(rocks: Rocks, write_command: WriteCommand, verb: str) -> None:
    write_command(verb, SHOW)
    write_command(f"{verb}/host/shade", SHOW)
    assert rocks(verb, "x").output == f"('{verb}',) ['x'] []\n"
    assert rocks(verb, "host", "shade", "h1").output == f"('{verb}', 'host', 'shade') ['h1'] []\n"
    assert f"\t{verb} host shade {TAKEN}" in rocks("help", verb).output.splitlines()
    assert rocks("list", "appliance", "help").status == 0


def test_a_verb_cannot_begin_with_an_underscore(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("_framework", SHOW)
    assert rocks("_framework").error.startswith('error - invalid rocks command "_framework"\n')
    assert "_framework" not in rocks("help").output


def test_a_group_needs_no_file(rocks: Rocks, write_command: WriteCommand, tree: Path) -> None:
    write_command("frob/deep/er", SHOW)
    assert rocks("frob", "deep", "er", "x").output == "('frob', 'deep', 'er') ['x'] []\n"
    assert rocks("frob", "deep") == (255, f"frob deep er {TAKEN}\n", "")
    assert rocks("frob") == (255, f"frob deep er {TAKEN}\n", "")
    assert not (tree / "frob" / "__init__.py").exists()


def test_a_file_where_a_folder_should_be(rocks: Rocks, write_command: WriteCommand, tree: Path) -> None:
    write_command("frob/er", SHOW)
    (tree / "frob.py").touch()
    assert f"{tree}/frob.py is a file, not a folder" in rocks("frob", "er").error


def test_a_nested_command_takes_only_what_it_declares(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "pass")
    write_command("outer", "self.command('inner', ['colour=red'])")
    assert rocks("outer").error.splitlines()[0] == ('Error: "inner" knows no parameter "colour"; it knows a')


def test_a_nested_command_returns_its_output_and_prints_nothing(
    rocks: Rocks, write_command: WriteCommand
) -> None:
    write_command("inner", "self.notify('notice')\nself.showNow('shown')\nself.addText(f'{args}')")
    write_command("outer", "self.addText('<' + self.command('inner', ['a b', 'a=1']) + '>')")
    assert rocks("outer") == (0, "<shown['a b']>\n", "")


def test_a_nested_command_fails_the_outer_one(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "self.abort('not so')")
    write_command("outer", "self.addText('begun')\nself.command('inner')")
    assert rocks("outer") == (
        1,
        "begun\n",
        f"Error: not so\n{usage_line('outer')}",
    )


def test_a_nested_command_hands_its_exit_status_up(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("inner", "self.exit_status = 3")
    write_command("outer", "self.command('inner')")
    assert rocks("outer").status == 3


def test_a_nested_command_that_is_not_there(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("group", "")
    write_command("outer", "self.command(*args)")
    assert 'the command "outer" calls "in.ner", which is not installed' in rocks("outer", "in.ner").error
    assert '"group" is a group of commands, not a command' in rocks("outer", "group").error


def test_a_fault_of_a_plugin_is_located_in_its_file(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    write_plugin(folder, "bad", run="None + 1")
    error = rocks("frob").error
    assert 'the plugin "bad" of "frob" has a fault (TypeError: ' in error
    assert f"; {folder}/plugin_bad.py, line 8)" in error
    write_plugin(folder, "bad", before="1 / 0\n")
    assert f"ZeroDivisionError: division by zero ({folder}/plugin_bad.py, line 1)" in rocks("frob").error
    (folder / "__init__.py").write_text("\n\n1 / 0\n")
    for name in list(sys.modules):
        if name == "rocks.commands.frob":
            del sys.modules[name]
    assert f"({folder}/__init__.py, line 3)" in rocks("frob").error


def test_plugins_run_in_order_with_the_arguments(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    for name, requests in (("b", ""), ("a", "def requires(self): return ['b']"), ("last", tail())):
        write_plugin(folder, name, requests)
    write_plugin(folder, "c", "")
    assert rocks("frob").output == "b h1\na h1\nc h1\nlast h1\n"


def test_a_new_plugin_takes_effect_at_once(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    assert rocks("frob").output == ""
    write_plugin(folder, "a", "")
    assert rocks("frob").output == "a h1\n"
    write_plugin(folder, "a", "def provides(self): return 'other'")
    assert rocks("frob").output == "other h1\n"
    (folder / "plugin_a.py").unlink()
    assert rocks("frob").output == ""


def test_a_plugin_of_another_tree_needs_no_package_there(
    rocks: Rocks, write_command: WriteCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    write_plugin(folder, "a", "")
    second = tmp_path / "second"
    (second / "frob").mkdir(parents=True)
    write_plugin(second / "frob", "b", "")
    monkeypatch.setenv("ROCKS_TREES", f"{folder.parent}:{second}")
    assert rocks("frob").output == "a h1\nb h1\n"


def test_plugins_are_chosen_by_their_files_name(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command(
        "frob", "self.addText(' '.join(p.provides() for p in self.loadPlugins('plugin_allocate')))"
    )
    for name in ("allocate", "allocate_disk", "preboot"):
        write_plugin(folder, name, "")
    assert rocks("frob").output == "allocate allocate_disk\n"


def test_two_plugins_with_one_name(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    write_plugin(folder, "a", "")
    write_plugin(folder, "b", "def provides(self): return 'a'")
    status, output, error = rocks("frob")
    assert (status, output) == (1, "")
    assert f'have the name "a": plugin_a.py and {folder}/plugin_b.py; remove one' in error


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = = 1\n", "SyntaxError"),
        ("x = 1\n", "AttributeError"),
        ("import nothing_such\n", "ModuleNotFoundError"),
    ],
)
def test_a_broken_plugin_is_named(rocks: Rocks, write_command: WriteCommand, text: str, why: str) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    (folder / "plugin_bad.py").write_text(text)
    status, output, error = rocks("frob")
    assert (status, output) == (1, "")
    assert error.startswith(f"Error: the plugin {folder}/plugin_bad.py cannot be loaded: {why}")


def test_a_plugin_may_hold_records(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    record = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Record:\n    x: int\n\n"
    )
    write_plugin(folder, "a", "", before=record)
    assert rocks("frob").output == "a h1\n"


def tail() -> str:
    """What makes a plugin the last."""
    return "def requires(self): return ['TAIL']"
