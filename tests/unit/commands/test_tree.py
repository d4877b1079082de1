"""The tree of commands, and which of them have a dry run."""

from functools import cache
from pathlib import Path

import pytest

from rocks.commands._framework import tree
from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.base import Command
from rocks.commands._framework.declarations import check_given, taken_by
from rocks.commands._framework.run_command import READING
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.core import trees
from rocks.core.errors import StateError, UserError
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests.unit.commands.reached import SOURCES, Place, places_reached

# Folders that are commands, in several trees.


@pytest.fixture
def other_tree(tmp_path: Path) -> Path:
    """A tree with `add/widget`, `frob` and a plugin for one of our own commands."""
    for place in ("add/widget", "add/hidden-word", "frob/deep/er"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("add/widget", "add/hidden-word", "frob", "frob/deep/er"):
        (tmp_path / place / "__init__.py").touch()
    return tmp_path


def test_the_longest_prefix_counts_the_words_that_are_folders(other_tree: Path) -> None:
    trees = [tree.OUR_TREE, str(other_tree)]
    assert tree.longest_prefix(["list", "host", "compute-0-0"], trees) == 2
    assert tree.longest_prefix(["list"], trees) == 1
    assert tree.longest_prefix(["add", "widget", "attr"], trees) == 2
    assert tree.longest_prefix(["frob", "deep", "er"], trees) == 3
    assert tree.longest_prefix(["nothing"], trees) == 0
    assert tree.longest_prefix([], trees) == 0


@pytest.mark.parametrize(
    "word",
    ["List", "../list", "list/host", "", "__pycache__", "_framework", "_shared", "hidden-word", "list ", "."],
)
def test_what_is_no_word_of_a_command(word: str, other_tree: Path) -> None:
    assert tree.longest_prefix([word, "host"], [tree.OUR_TREE, str(other_tree)]) == 0


def test_all_commands_of_all_trees_once_and_sorted(other_tree: Path) -> None:
    found = list(tree.all_commands([tree.OUR_TREE, str(other_tree)]))
    assert found == sorted(set(found))
    assert {("list", "host"), ("add", "widget"), ("frob",), ("frob", "deep", "er")} <= set(found)
    assert not {("list",), ("frob", "deep"), ("add", "hidden-word"), ("_framework",)} & set(found)


def test_a_folder_without_a_file_is_a_group_when_a_command_lies_below(tmp_path: Path) -> None:
    (tmp_path / "group" / "below" / "frob").mkdir(parents=True)
    assert tree.longest_prefix(["group", "below", "frob"], [str(tmp_path)]) == 0
    (tmp_path / "group" / "below" / "frob" / "__init__.py").touch()
    assert tree.longest_prefix(["group", "below", "frob"], [str(tmp_path)]) == 3


@pytest.mark.parametrize("left", ["__pycache__/__init__.cpython-311.pyc", "plugin_a.py", "README"])
def test_a_folder_with_plugins_or_the_rest_of_a_removed_command_is_no_group(
    left: str, tmp_path: Path
) -> None:
    """Otherwise a host of that name could not be listed."""
    (tmp_path / "compute" / left).parent.mkdir(parents=True)
    (tmp_path / "compute" / left).touch()
    assert tree.longest_prefix(["compute"], [str(tmp_path)]) == 0


def test_trees_are_named_by_the_environment_and_by_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "20-b").write_text("# trees of roll b\n\n  /srv/b  \n/srv/a\n")
    (tmp_path / "10-a").write_text("/srv/a\n")
    (tmp_path / ".hidden").write_text("/srv/never\n")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(trees, "TREES_FOLDER", str(tmp_path))
    monkeypatch.setenv("ROCKS_TREES", "/opt/x::/srv/b")
    assert tree.tree_folders() == [tree.OUR_TREE, "/opt/x", "/srv/b", "/srv/a"]


def test_without_other_trees_there_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "TREES_FOLDER", str(tmp_path / "absent"))
    monkeypatch.delenv("ROCKS_TREES", raising=False)
    assert tree.tree_folders() == [tree.OUR_TREE]


def test_a_file_of_trees_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "roll").write_bytes(b"/srv/\xff\n")
    monkeypatch.setattr(trees, "TREES_FOLDER", str(tmp_path))
    with pytest.raises(StateError, match="cannot read .*/roll, which names other command trees: .*remove it"):
        tree.tree_folders()


# `dry-run=yes`: every command that changes hosts takes it, or says why it cannot.


TREES = [OUR_TREE]
CHANGING = {
    path: load_package(path, TREES).Command
    for path in all_commands(TREES)
    if hasattr(load_package(path, TREES), "Command") and path[0] not in READING
}
GATEWAYS = {
    Place("rocks.fleet.fleet", "Fleet"): "requests and commands of hosts",
    Place("rocks.fleet.host_files", "replace_files"): "files of hosts",
    Place("rocks.storage.client.asking", "StorageClient"): "image storage",
    Place("rocks.site.airboss.client", "ask"): "the site's frontend",
    Place("rocks.core.process", "run"): "programs",
    Place("rocks.core.process", "run_checked"): "programs",
    Place("rocks.core.process", "run_interactively"): "programs",
    Place("rocks.core.process", "replace_this_process"): "programs",
    Place("rocks.core.process", "start_with_pipes"): "programs",
    Place("rocks.core.files", "write_file"): "files for hosts",
    Place("rocks.core.files", "write_files"): "files for hosts",
    Place("rocks.core.files", "draft"): "files for hosts",
}
"""How a command reaches anything besides the cluster database."""

BESIDES_HOSTS = ("rocks.database.", "rocks.commands._framework.", "rocks.cli.", "rocks.core.callers")
"""What every command does: its locks, its records, its output."""


@cache
def reached_gateways(path: tuple[str, ...]) -> frozenset[str]:
    """What the command and the plugins of its folder may reach."""
    module = ".".join(("rocks", "commands", *path))
    plugins = sorted((SOURCES / module.replace(".", "/")).glob("plugin_*.py"))
    starts = [Place(module, "Command"), *(Place(f"{module}.{file.stem}", "Plugin") for file in plugins)]
    found: set[str] = set()
    for start in starts:
        reached = places_reached(start)
        for place in reached:
            if place in GATEWAYS and not _is_on_the_way_of_all(place, reached):
                found.add(GATEWAYS[place])
    return frozenset(found)


def _is_on_the_way_of_all(place: Place, reached: dict[Place, Place | None]) -> bool:
    step: Place | None = reached[place]
    while step is not None:
        if step.module.startswith(BESIDES_HOSTS):
            return True
        step = reached[step]
    return False


def declares(command: type[Command]) -> bool:
    return any(it.name == "dry-run" for it in taken_by(command))


def title(path: tuple[str, ...]) -> str:
    return " ".join(path)


@pytest.mark.slow
def test_every_command_that_reaches_hosts_can_be_tried_or_says_why_not() -> None:
    assert [
        f"{title(path)} reaches {', '.join(sorted(reached_gateways(path)))}: its docstring needs "
        "<shared names='dry-run'/>, or the command a NoDryRun with the reason"
        for path, command in CHANGING.items()
        if reached_gateways(path) and declares(command) is bool(command.NoDryRun)
    ] == []


def test_a_command_that_cannot_be_tried_refuses_the_parameter_with_the_reason() -> None:
    for path, command_class in CHANGING.items():
        if command_class.NoDryRun:
            command = command_class(Database(Settings(None, "", 0, "", "", "")))
            with pytest.raises(UserError) as refused:
                check_given(command, parse_arguments(["dry-run=yes"]))
            assert str(refused.value) == f'"{title(path)}" cannot be tried: {command.NoDryRun}'


def test_the_commands_that_are_known_to_change_hosts_are_found() -> None:
    """The sources are read as this test expects: else it would find nothing, and be content."""
    for path in (
        ("start", "host", "vm"),
        ("stop", "host", "vm"),
        ("set", "host", "power"),
        ("set", "host", "boot"),
        ("sync", "host", "firewall"),
        ("sync", "users"),
        ("add", "host", "storagemap"),
        ("remove", "host", "vm"),
        ("run", "host"),
        ("swap", "host", "interface"),  # by the command sync config
    ):
        assert reached_gateways(path), title(path)
    assert not reached_gateways(("add", "host", "route"))
    assert len([path for path in CHANGING if reached_gateways(path)]) >= 60


def test_a_command_of_the_database_alone_says_that_it_reaches_no_host() -> None:
    command = CHANGING["add", "route"](Database(Settings(None, "", 0, "", "", "")))
    with pytest.raises(UserError, match='"add route" cannot be tried: it reaches no host'):
        check_given(command, parse_arguments(["dry-run=yes"]))
