"""A server that a test may kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mariadb import MariadbPlace, ensure_initialised, stop
from rocks.database.settings import Settings


@pytest.fixture
def private_server(mariadb: Settings) -> Iterator[MariadbPlace]:
    """An initialised server that does not run; skips for the reasons of `mariadb`."""
    folder = Path(tempfile.mkdtemp(prefix="rocks-mariadb-"))
    folder.chmod(0o755)
    place = MariadbPlace(folder / "data", folder / "run" / "mysql.sock", folder / "log", folder / "process")
    ensure_initialised(place)
    yield place
    stop(place)
    shutil.rmtree(folder)
