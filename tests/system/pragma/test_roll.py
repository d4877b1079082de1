"""The ISO of the roll: it is built, added and enabled as other rolls are, and brings commands and programs."""

import shutil
from pathlib import Path

import pytest

from rocks.install.rolls.iso import create_roll
from tests.system.commands.conftest import Site
from tests.system.pragma.conftest import TREE
from tests.system.rolls.conftest import roll_site

__all__ = ["roll_site"]


@pytest.mark.slow
def test_the_roll_is_added_enabled_and_removed(roll_site: Site, tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    (tmp_path / "iso").mkdir()
    iso = create_roll(TREE.parent / "roll-pragma.xml", tmp_path / "iso")
    assert roll_site.rocks("add roll", str(iso)).status == 0
    roll_site.done("add host head membership=Frontend rack=0 rank=0")
    roll_site.done("set attr Kickstart_PrivateHostname head")
    roll_site.done("enable roll pragma")
    commands = roll_site.done("list roll command pragma output-header=no output-col=command").splitlines()
    assert [line.strip() for line in commands] == [
        "pragma boot",
        "pragma check image",
        "pragma clean",
        "pragma list cluster",
        "pragma list repository",
        "pragma load settings",
        "pragma shutdown",
        "pragma sync repository",
    ]
    assert "vcdb.txt" in roll_site.refused("pragma list repository")
    script = roll_site.done("run roll pragma host=head")
    assert "/usr/local/bin/pragma_boot" in script
    assert 'exec rocks pragma "$@"' in script
    roll_site.done("disable roll pragma")
    roll_site.done("remove roll pragma")
    assert roll_site.rocks("pragma list repository").status == 255
