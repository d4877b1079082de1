"""Expected documents, in files beside the test. With ROCKS_REGENERATE_GOLDEN=1 the tests rewrite them,
and the review checks the difference.
"""

import os
from difflib import unified_diff
from itertools import islice
from pathlib import Path

import pytest


def check_golden(path: Path, text: str, base: tuple[str, str] = ("", "")) -> None:
    """Fail unless the file at `path` contains `text`; when files are regenerated, write it instead.

    `base`: name and text of a document that is similar. The file has what differs from it, and its name ends with
    `.diff`.
    """
    if base[0]:
        path = path.with_name(f"{path.name}.diff")
        before, after = base[1].splitlines(True), text.splitlines(True)
        text = "".join(unified_diff(before, after, base[0], path.stem, n=1))
    if os.environ.get("ROCKS_REGENERATE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"{path} is missing; ROCKS_REGENERATE_GOLDEN=1 writes it"
    stored = path.read_text()
    if text != stored:
        lines = unified_diff(stored.splitlines(True), text.splitlines(True), "in the file", "now", n=1)
        difference = "".join(islice(lines, 20))
        pytest.fail(
            f"ROCKS_REGENERATE_GOLDEN=1 writes {path} anew; it begins to differ:\n{difference}", pytrace=False
        )
