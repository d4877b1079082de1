"""The reference pages are those of these programs."""

from pathlib import Path

import pytest

from rocks.cli.reference import pages, write_reference
from rocks.commands._framework.command_index import FILE, index_text

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", pages())
def test_the_page_in_the_repository_is_the_newest(name: str) -> None:
    """Otherwise run `make reference`."""
    assert (FOLDER / name).read_text() == pages()[name]


def test_the_index_of_commands_is_the_newest() -> None:
    """Otherwise run `make reference`."""
    assert Path(FILE).read_text() == index_text()


def test_the_page_of_commands_has_every_part() -> None:
    page = pages()["commands.md"]
    assert "### list host attr\n\n    rocks list host attr [host] ...\n" in page
    assert "\n    # rocks set attr managed false\n" in page
    assert "[set attr](#set-attr)" in page


def test_pages_are_written(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference")
    assert {path.name: path.read_text() for path in (tmp_path / "reference").iterdir()} == pages()
