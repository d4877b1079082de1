"""What stays of a purged frontend: the page and the package name the same places."""

import re

from tests.unit.docs.pages import CHECKOUT


def test_a_purge_prints_the_places_that_the_page_lists() -> None:
    page = (CHECKOUT / "docs/packaging.md").read_text("utf-8")
    removing = page[page.index("\n## Removing\n") : page.index("\n## Units\n")]
    program = (CHECKOUT / "packaging/debian/rocks-cli.postrm").read_text("utf-8")

    listed = re.findall(r"^- `(/[a-z/]+)`:", removing, re.MULTILINE)
    printed = re.findall(r'"(/[a-z/]+)\|', program)
    assert len(printed) == 5 and set(listed) == set(printed), "the page says: which of the first five"
