"""Which process has an image open."""

from pathlib import Path

import pytest

from rocks.machine.host import files
from rocks.machine.host.libvirt.fake import FakeDomains


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
