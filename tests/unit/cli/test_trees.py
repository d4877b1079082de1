"""Commands of several trees: words that another tree adds, groups, and what is no command."""

from pathlib import Path

import pytest

from rocks.core import trees
from tests.command_trees import SHOW, TAKEN, WriteCommand
from tests.unit.cli.conftest import Rocks


def test_a_group_lists_what_is_below_it(rocks: Rocks, write_command: WriteCommand) -> None:
    write_command("frob", "")
    write_command("frob/one", SHOW)
    write_command("frob/two", SHOW)
    assert rocks("frob") == (255, f"frob one {TAKEN}\nfrob two {TAKEN}\n", "")
    listed = f"frob one {TAKEN}\nfrob two {TAKEN}\n"
    assert rocks("frob", "nine") == (255, listed, 'error - invalid rocks command "frob nine"\n')


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
