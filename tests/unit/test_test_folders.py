"""Files and folders of tests stay small: a reader finds a test, and reads the file as one page after another."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
MAX_LINES = 400
MAX_FILES = 30

LONG_FILES = {
    "system/imgstorage/test_storage_vms.py": 530,
    "system/imgstorage/test_transfer.py": 451,
    "system/vms/test_live_moves.py": 446,
}
"""Files that are longer still → their lines, which may only shrink."""

OWN_FOLDERS = {Path("lab_machines"), Path("storage/daemons")}
"""Of unit tests: of `lab/machines`, and of both daemons of image storage together."""


def above(found: dict[str, int], known: dict[str, int], maximum: int) -> list[str]:
    """What is above the maximum and not known, or has grown, or is known and needs it no more."""
    grown = [f"{name} has {size}" for name, size in found.items() if size > max(maximum, known.get(name, 0))]
    needless = [f"{name} is listed and needs it no more" for name in known if found.get(name, 0) <= maximum]
    return sorted(grown + needless)


def test_no_file_is_long() -> None:
    found = {
        str(path.relative_to(TESTS)): len(path.read_text("utf-8").splitlines())
        for path in TESTS.rglob("*.py")
    }
    assert above(found, LONG_FILES, MAX_LINES) == []


def test_no_folder_is_full() -> None:
    folders = [path for path in TESTS.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    found = {
        str(folder.relative_to(TESTS)): sum(path.suffix == ".py" for path in folder.iterdir())
        for folder in folders
    }
    assert above(found, {}, MAX_FILES) == []


def test_unit_tests_are_in_the_folders_of_their_sources() -> None:
    top = TESTS / "unit"
    folders = {path.parent.relative_to(top) for path in top.rglob("test_*.py")} - {Path(), *OWN_FOLDERS}
    sources = [TESTS.parent / name for name in ("src/rocks", "src", "roll", ".")]
    assert [one for one in sorted(folders) if not any((source / one).is_dir() for source in sources)] == []


def test_what_is_above_would_be_found() -> None:
    assert above({"a": 9, "b": 9, "c": 8, "d": 7}, {"b": 9, "c": 7, "d": 8, "e": 9}, 7) == [
        "a has 9",
        "c has 8",
        "d is listed and needs it no more",
        "e is listed and needs it no more",
    ]
