"""Files of guests are opened so that nobody leads this system to another one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.machine.host import files
from rocks.machine.host.files import open_file
from tests.fakes.libvirt import FakeDomains


@pytest.mark.slow
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


# Which process has an image open.


def test_a_file_that_is_closed_meanwhile_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is listed first."""
    image = tmp_path / "vm.vda"
    image.touch()
    folder = tmp_path / "proc/1234567/fd"
    folder.mkdir(parents=True)
    for number, target in enumerate((tmp_path / "closed", image, tmp_path / "closed")):
        (folder / str(number)).symlink_to(target)
    (tmp_path / "proc/1234568").mkdir()  # it has ended
    monkeypatch.setattr(files, "_PROCESSES", tmp_path / "proc")
    assert files.users_of_images(FakeDomains()) == {files.key_of(image.stat()): "process 1234567"}
