"""The roll of these programs: `make roll`, and its description beside version.mk."""

import re
import shutil
from pathlib import Path

import pytest

from rocks import __version__
from rocks.core.process import run_checked
from rocks.core.version import ROLL_NAME
from rocks.install.rolls.build import create_roll
from rocks.install.rolls.description import RollId, read_description
from rocks.install.rolls.iso import extract_roll

CHECKOUT = Path(__file__).resolve().parents[4]
DESCRIPTION = CHECKOUT / "roll" / f"roll-{ROLL_NAME}.xml"


def test_its_name_and_version_are_those_of_the_programs() -> None:
    stated = dict(re.findall(r"^(\w+) *= *(\S+)$", (CHECKOUT / "version.mk").read_text(), re.MULTILINE))
    description = read_description(DESCRIPTION.read_bytes(), str(DESCRIPTION))
    assert description.roll == (ROLL_NAME, __version__, "x86_64")
    assert stated == {"ROLLNAME": ROLL_NAME, "VERSION": __version__, "RELEASE": description.release}


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed (tools/setup roll)")
def test_it_is_built_from_our_nodes_and_graphs(tmp_path: Path) -> None:
    for name in ("nodes", "graphs"):
        shutil.copytree(CHECKOUT / name, tmp_path / "source" / name)
    for path in (DESCRIPTION, CHECKOUT / "version.mk"):
        shutil.copy(path, tmp_path / "source")
    iso = create_roll(tmp_path / "source" / DESCRIPTION.name, tmp_path)
    extract_roll(iso, RollId(ROLL_NAME, __version__, "x86_64"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out/nodes").iterdir()} == {
        path.name for path in (CHECKOUT / "nodes").iterdir()
    }
    assert 'roll="rocks-virtual-clusters"' in (tmp_path / "out/graphs/default/core.xml").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_roll_states_which_packages_are_missing(tmp_path: Path) -> None:
    """With another program in the place of `rocks`, which prints its arguments."""
    command = ["make", "-s", "-C", str(CHECKOUT / "roll"), f"DIST={tmp_path}", "ROCKS=/bin/echo"]
    (tmp_path / "a_1.0_all.deb").touch()
    done = run_checked(command, deadline_seconds=60)
    assert done.error_text == "the roll has no rpm packages: dist has none; `make packages` builds them"
    assert done.text.split() == ["create", "roll", f"{tmp_path}/.roll/{DESCRIPTION.name}", f"dir={tmp_path}"]
