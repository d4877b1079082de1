"""A file to import whose format is unclear, or stated and not one that is imported."""

from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.storage.volumes.image_files import read_image_file


@pytest.mark.parametrize("stated", ["", "vmdk"])
def test_the_formats_that_are_imported_are_named(tmp_path: Path, stated: str) -> None:
    file = tmp_path / "disk.vmdk"
    file.touch()
    with pytest.raises(UserError, match="is unclear or not imported: give format=raw or format=qcow2"):
        read_image_file(str(file), stated)
