"""A file to import: its format, and an import that the NAS ends, whose error says what completes it."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rocks.core.errors import HostError, UserError
from rocks.storage.client import importing
from rocks.storage.volumes import access, volumes
from rocks.storage.volumes.image_files import ImageFile, read_image_file


@pytest.mark.parametrize("stated", ["", "vmdk"])
def test_the_formats_that_are_imported_are_named(tmp_path: Path, stated: str) -> None:
    file = tmp_path / "disk.vmdk"
    file.touch()
    with pytest.raises(UserError, match="is unclear or not imported: give format=raw or format=qcow2"):
        read_image_file(str(file), stated)


# An import whose NAS ends the transfer: the error names the image, and says what completes it.


def test_a_cut_import_is_named_with_what_completes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(*_: Any) -> Any:
        yield SimpleNamespace(ask=lambda *_: SimpleNamespace(guid="1", size_bytes=3))

    @contextmanager
    def raw(*_: Any) -> Any:
        yield io.BytesIO(b"abc"), 3

    def cut(*_: Any) -> str:
        raise HostError("the far end closed the transfer before its end")

    monkeypatch.setattr(volumes, "as_raw", raw)
    monkeypatch.setattr(volumes, "open_storage", opened)
    monkeypatch.setattr(access, "open_transfer", lambda *_: ("192.0.2.1", 7443, None))
    monkeypatch.setattr(importing, "send_file", cut)
    database: Any = SimpleNamespace(end_reading=lambda: None)
    watcher = cast("Any", SimpleNamespace(displays_progress=False))
    with pytest.raises(HostError) as refused:
        volumes.import_image(
            database, "nas-0-0", "tank", "golden", ImageFile(Path("/golden.raw"), "raw"), watcher
        )
    assert str(refused.value) == (
        "import of nas-0-0:tank/golden: the far end closed the transfer before its end; repeat the same command"
    )
