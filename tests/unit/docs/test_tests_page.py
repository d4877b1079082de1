"""The page of the tests names files and folders that are there."""

import re

from tests.unit.docs.pages import CHECKOUT

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
