"""A folder for the installer's shell functions."""

from pathlib import Path

import pytest

from tests.system.installer.shell import Shell, make_shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A machine without disks."""
    return make_shell(tmp_path)
