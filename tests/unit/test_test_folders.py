"""Files and folders of tests stay small: a reader finds a test, and reads the file as one page after another."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MAX_LINES = 400
MAX_FILES = 30

OWN_FOLDERS = {Path("lab_machines"), Path("storage/daemons")}
"""Of unit tests: of `lab/machines`, and of both daemons of image storage together."""


def above(found: dict[str, int], maximum: int) -> list[str]:
    """What is above the maximum."""
    return sorted(f"{name} has {size}" for name, size in found.items() if size > maximum)


def test_no_file_is_long() -> None:
    found = {
        str(path.relative_to(TESTS)): len(path.read_text("utf-8").splitlines())
        for path in TESTS.rglob("*.py")
    }
    assert above(found, MAX_LINES) == []


def test_no_folder_is_full() -> None:
    folders = [path for path in TESTS.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    found = {
        str(folder.relative_to(TESTS)): sum(path.suffix == ".py" for path in folder.iterdir())
        for folder in folders
    }
    assert above(found, MAX_FILES) == []


def test_unit_tests_are_in_the_folders_of_their_sources() -> None:
    top = TESTS / "unit"
    folders = {path.parent.relative_to(top) for path in top.rglob("test_*.py")} - {Path(), *OWN_FOLDERS}
    sources = [TESTS.parent / name for name in ("src/rocks", "src", "roll", ".")]
    assert [one for one in sorted(folders) if not any((source / one).is_dir() for source in sources)] == []


def test_what_is_above_would_be_found() -> None:
    assert above({"b": 9, "a": 8, "c": 7}, 7) == ["a has 8", "b has 9"]
