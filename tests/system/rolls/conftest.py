"""A site with a distribution of its own; rolls are built by xorriso, which `tools/setup test` installs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rocks.core import trees
from rocks.install.rolls.iso import create_roll
from tests.command_trees import forgotten_commands
from tests.rolls import write_roll
from tests.system.commands.conftest import Site, rocks, site

__all__ = ["rocks", "site"]

BuildRoll = Callable[..., Path]


@pytest.fixture
def build_roll(tmp_path: Path) -> BuildRoll:
    """`build_roll(name, version, …)`: the ISO of a roll with a node, an edge and a command."""
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")

    def build(name: str = "hello", version: str = "1.0", arch: str = "noarch", needs: str = "") -> Path:
        source = tmp_path / "sources" / f"{name}-{version}-{arch}"
        return create_roll(write_roll(source, name, version, arch, needs), tmp_path)

    return build


@pytest.fixture
def roll_site(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site, with its distribution below the test's folder, and no roll."""
    monkeypatch.setattr(trees, "TREES_FOLDER", str(tmp_path / "trees.d"))
    site.done("set", "attr", "Kickstart_DistroDir", str(tmp_path / "export"))
    with forgotten_commands():
        yield site


@pytest.fixture
def rolls_folder(tmp_path: Path) -> Path:
    """Where the site's rolls are."""
    return tmp_path / "export" / "install" / "rolls"
