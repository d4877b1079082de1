"""The pages for developers, where to start and the tests, name files and folders that are there."""

import re
from pathlib import Path

from tests.unit.docs.pages import CHECKOUT

# The page for developers names files that are there.


_TOP = CHECKOUT / "src" / "rocks"
_PATH = re.compile(r"[\w./*-]+(?:/|\.py|\.xml|\.sql|\.sh|\.md)")
_GENERAL = ("permissions.sql",)
"""Names that stand for many files."""


def rows() -> list[str]:
    """The rows of both tables."""
    lines = (CHECKOUT / "docs/where-to-start.md").read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("| ") and " | " in line]


def missing_paths(row: str) -> list[str]:
    """Paths of a row that lead nowhere; one without a folder may be beside any before it."""
    folders, missing = [_TOP, CHECKOUT / "docs"], []
    for span in re.findall(r"`([^`]+)`", row):
        path = span.partition(":")[0]
        if not _PATH.fullmatch(path) or path in _GENERAL or "NAME" in path or "NNNN" in path:
            continue
        found = (
            [one for folder in folders for one in folder.glob(path)]
            if "*" in path
            else _existing(folders, path)
        )
        if not found:
            missing.append(path)
        for one in found:
            folders += [one, one.parent] if one.is_dir() else [one.parent]
    return missing


def _existing(folders: list[Path], path: str) -> list[Path]:
    return [folder / path for folder in folders if (folder / path).exists()]


def test_the_files_of_every_row_are_there() -> None:
    assert [(row, missing) for row in rows() if (missing := missing_paths(row))] == []


def test_a_file_that_is_not_there_would_be_found() -> None:
    assert len(rows()) == 2 + 15 + 20
    assert missing_paths("`cli/main.py`, `tree.py`, `../../nodes/nothing.xml` |") == [
        "tree.py",
        "../../nodes/nothing.xml",
    ]


# The page of the tests names files and folders that are there.


PATH = re.compile(r"`((?:[a-z_]+/)[\w/*.]*|[a-z_]+\.py)`")


def test_every_place_of_the_page_is_there() -> None:
    """A name without a folder may be beside one before it in its row."""
    missing = []
    for row in (CHECKOUT / "tests/README.md").read_text("utf-8").splitlines():
        folders = [CHECKOUT / "tests", CHECKOUT, CHECKOUT / "src/rocks"]
        for path in PATH.findall(row):
            found = [one for folder in folders for one in folder.glob(path.rstrip("/"))]
            if not found and not re.search(r"[A-Z]{4}", path):  # `test_NAME.py` stands for many
                missing.append(path)
            folders += [one if one.is_dir() else one.parent for one in found]
            folders += [one.parent for one in found]
    assert missing == []
