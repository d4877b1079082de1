"""Expected documents: one file each, beside the test. With ROCKS_REGENERATE_GOLDEN=1 the tests rewrite them,
and the review checks the difference.
"""

import os
from pathlib import Path


def check_golden(path: Path, text: str) -> None:
    """Fail unless the file at `path` contains `text`; when files are regenerated, write it instead."""
    if os.environ.get("ROCKS_REGENERATE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"{path} is missing; ROCKS_REGENERATE_GOLDEN=1 writes it"
    assert text == path.read_text(), f"ROCKS_REGENERATE_GOLDEN=1 writes {path} anew"
