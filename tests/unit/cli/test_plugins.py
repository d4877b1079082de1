"""Plugins of a command, from a command line: their order, their choice, their faults."""

import sys
from pathlib import Path

import pytest

from tests.command_trees import WriteCommand, write_plugin
from tests.unit.cli.conftest import Rocks


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


def test_plugins_that_wait_for_each_other(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    write_plugin(folder, "a", "def requires(self): return ['b']")
    write_plugin(folder, "b", "def requires(self): return ['a']")
    status, output, error = rocks("frob")
    assert (status, output) == (1, "")
    assert error.startswith("Error: the order of plugins has a cycle: a, b; ")


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


def test_a_plugin_with_a_fault_is_named(rocks: Rocks, write_command: WriteCommand) -> None:
    folder = write_command("frob", "self.runPlugins('h1')")
    write_plugin(folder, "a", "", run="raise KeyError('x')")
    status, _, error = rocks("frob")
    assert status == 1
    assert error.startswith('Error: the plugin "a" of "frob" has a fault (KeyError: \'x\'; ')


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
