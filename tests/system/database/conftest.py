"""A server that a test may kill."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mariadb import MariadbPlace, stop
from rocks.database.connection import Database
from rocks.database.settings import Settings
from tests.system.conftest import copy_data, place_below


@pytest.fixture
def other(cluster_database: Settings) -> Iterator[Database]:
    """A second connection."""
    with Database(cluster_database) as connection:
        yield connection


@pytest.fixture
def private_server(initialised_data: Path) -> Iterator[MariadbPlace]:
    """The place of an initialised server that does not run."""
    folder = Path(tempfile.mkdtemp(prefix="rocks-mariadb-"))
    folder.chmod(0o755)
    place = place_below(folder)
    copy_data(initialised_data, place)
    yield place
    stop(place)
    shutil.rmtree(folder)
