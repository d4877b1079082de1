"""docs/img-storage.md shows the machine that runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rocks.imgstorage.model import picture

PAGE = Path(__file__).parents[3] / "docs" / "img-storage.md"


def section(name: str) -> re.Pattern[str]:
    """A part of the page, with its markers."""
    return re.compile(rf"<!-- {name} begins -->\n(.*?)<!-- {name} ends -->", re.DOTALL)


@pytest.mark.parametrize("name", picture.sections())
def test_the_page_shows_what_runs(name: str) -> None:
    """Written again with ROCKS_REGENERATE_GOLDEN=1."""
    wanted = picture.sections()[name] + "\n"
    text = PAGE.read_text()
    if os.environ.get("ROCKS_REGENERATE_GOLDEN"):
        whole = f"<!-- {name} begins -->\n{wanted}<!-- {name} ends -->"
        text = section(name).sub(lambda match: whole, text)
        PAGE.write_text(text)
    found = section(name).search(text)
    assert found is not None and found.group(1) == wanted
