"""Folders that are commands, in several trees."""

from pathlib import Path

import pytest

from rocks.commands._framework import tree
from rocks.core import trees
from rocks.core.errors import StateError


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
