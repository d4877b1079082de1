"""Folders stay small: a reader finds a file."""

from collections import Counter
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import run_checked

TESTS = Path(__file__).resolve().parents[1]
MAX_FILES = 30

SERIES = ("decisions", "migrations")
"""Folders of numbered files, which only grow."""
FLAT = Path("nodes")
"""Rocks looks there for a node by its name, by which sites extend or replace it."""

OWN_FOLDERS = {Path("lab_machines"), Path("storage/daemons")}
"""Of unit tests: of `lab/machines`, and of both daemons of image storage together."""


def above(found: dict[str, int], maximum: int) -> list[str]:
    """What is above the maximum."""
    return sorted(f"{name} has {size}" for name, size in found.items() if size > maximum)


def test_no_folder_is_full() -> None:
    """Of all that is checked in; files of subfolders do not count."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this is no checkout of git")
    git = ["git", "-C", str(CHECKOUT), "-c", f"safe.directory={CHECKOUT}"]
    names = run_checked([*git, "ls-files", "-z"], deadline_seconds=60).text.split("\0")
    found = Counter(Path(name).parent for name in names if name)
    small = {
        str(folder): size for folder, size in found.items() if folder.name not in SERIES and folder != FLAT
    }
    assert len(small) > 100 and above(small, MAX_FILES) == []


def test_unit_tests_are_in_the_folders_of_their_sources() -> None:
    top = TESTS / "unit"
    folders = {path.parent.relative_to(top) for path in top.rglob("test_*.py")} - {Path(), *OWN_FOLDERS}
    sources = [TESTS.parent / name for name in ("src/rocks", "src", "roll", ".")]
    assert [one for one in sorted(folders) if not any((source / one).is_dir() for source in sources)] == []


def test_what_is_above_would_be_found() -> None:
    assert above({"b": 9, "a": 8, "c": 7}, 7) == ["a has 8", "b has 9"]
