"""docs/image-storage-internals.md shows the state machine that runs."""

import os
import re
from pathlib import Path

import pytest

from tests.golden.files import check_golden
from tests.unit.storage import picture

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "image-storage-internals.md"
GOLDEN = ROOT / "tests" / "golden" / "image_life"


def section(name: str) -> re.Pattern[str]:
    """A part of the page, with its markers."""
    return re.compile(rf"<!-- {name} begins -->\n(.*?)<!-- {name} ends -->", re.DOTALL)


@pytest.mark.parametrize("name", picture.sections())
def test_the_page_shows_what_runs(name: str) -> None:
    """Written again with ROCKS_REGENERATE_GOLDEN=1."""
    expected = picture.sections()[name] + "\n"
    text = PAGE.read_text()
    if os.environ.get("ROCKS_REGENERATE_GOLDEN"):
        whole = f"<!-- {name} begins -->\n{expected}<!-- {name} ends -->"
        text = section(name).sub(lambda match: whole, text)
        PAGE.write_text(text)
    found = section(name).search(text)
    assert found is not None and found.group(1) == expected


@pytest.mark.parametrize("name", picture.long_tables())
def test_the_long_tables_show_what_runs(name: str) -> None:
    check_golden(GOLDEN / f"{name}.txt", picture.long_tables()[name] + "\n")


def test_every_test_that_the_page_names_is_there() -> None:
    """The table of defects names them."""
    table = (
        PAGE.read_text("utf-8").partition("<!-- defects begins -->")[2].partition("<!-- defects ends -->")[0]
    )
    rows = [line for line in table.splitlines() if line.startswith("| F")]
    assert [row.split()[1] for row in rows] == [f"F{number}" for number in range(1, 23)]
    folders = {"unit": "unit/storage/image", "daemons": "unit/storage/daemons", "system": "system/imgstorage"}
    texts = {
        kind: "".join(path.read_text("utf-8") for path in (ROOT / "tests" / folder).glob("test_*.py"))
        for kind, folder in folders.items()
    }
    for row in rows:
        kind = ""
        named = re.findall(r"(unit|daemons|system)?\s*`([^`]+)`", row.split(" | ")[3])
        assert named, row
        for prefix, name in named:
            kind = prefix or kind
            file, _, test = name.rpartition("::")
            text = (ROOT / file).read_text("utf-8") if file else texts[kind]
            assert f"def {test}(" in text, name
