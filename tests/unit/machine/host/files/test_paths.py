"""Files of guests are opened so that nobody leads this system to another one."""

import os
import threading
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.machine.host.files import open_file


def test_a_file_that_is_being_placed_has_a_second_name_for_a_moment(tmp_path: Path) -> None:
    """Another request on the host is between link(2) and unlink(2); a name that stays is somebody else's."""
    draft, image = tmp_path / "draft", tmp_path / "g.vda"
    draft.touch()
    os.link(draft, image)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(StateError, match="is linked: the file has 2 names"):
            open_file(folder, image.name, str(image))
        threading.Timer(0.2, draft.unlink).start()
        descriptor = open_file(folder, image.name, str(image))
        assert descriptor is not None and os.fstat(descriptor).st_nlink == 1
        os.close(descriptor)
    finally:
        os.close(folder)
