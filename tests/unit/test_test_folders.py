"""Unit tests are in the folders of what they test: a reader finds them."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
OWN_FOLDERS = {Path("lab_machines"), Path("storage/daemons")}
"""Of unit tests: of `lab/machines`, and of both daemons of image storage together."""


def test_unit_tests_are_in_the_folders_of_their_sources() -> None:
    top = TESTS / "unit"
    folders = {path.parent.relative_to(top) for path in top.rglob("test_*.py")} - {Path(), *OWN_FOLDERS}
    sources = [TESTS.parent / name for name in ("src/rocks", "src", "roll", ".")]
    assert [one for one in sorted(folders) if not any((source / one).is_dir() for source in sources)] == []
