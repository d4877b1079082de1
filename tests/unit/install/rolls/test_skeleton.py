"""The Makefile of a new roll: each target of the guide's table, with real make, dpkg and rpm."""

import shutil
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.process import run_checked
from rocks.install.rolls.builds import write_skeleton
from rocks.install.rolls.description import RollId

CHECKOUT = Path(__file__).resolve().parents[4]

for _program in ("make", "dpkg-deb", "rpmbuild", "xorriso"):
    if shutil.which(_program) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)

_TOOL = """\
deb:
\tmkdir -p tree/DEBIAN ../../packages
\tprintf 'Package: tool\\nVersion: 1\\nArchitecture: all\\nMaintainer: A <a@b.c>\\nDescription: a\\n' \\
\t  >tree/DEBIAN/control
\tdpkg-deb --root-owner-group --build tree ../../packages/tool.deb >/dev/null
rpm:
\ttouch rpm-was-built
"""


@pytest.fixture
def roll(tmp_path: Path) -> Path:
    """A new roll with a package of its own in src."""
    folder = write_skeleton(RollId("hello", "1.0", "noarch"), tmp_path)
    (folder / "src/tool").mkdir(parents=True)
    (folder / "src/tool/Makefile").write_text(_TOOL)
    return folder


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot write .*/hello: File name too long"):
        write_skeleton(RollId("hello", "1.0", "noarch"), tmp_path / ("x" * 300))


def make(roll: Path, *targets: str) -> str:
    command = ["make", "-s", "--no-print-directory", "-C", str(roll), f"ROCKS={CHECKOUT}/bin/rocks"]
    return run_checked([*command, *targets], deadline_seconds=300).text


def test_roll_builds_the_packages_of_src_and_reroll_only_the_iso(roll: Path) -> None:
    iso = roll / "hello-1.0-1.noarch.disk1.iso"
    make(roll, "reroll")
    assert iso.is_file() and not (roll / "packages").exists()
    without = iso.stat().st_size
    make(roll)
    assert (roll / "packages/tool.deb").is_file() and iso.stat().st_size > without
    make(roll, "rpm")
    assert (roll / "src/tool/rpm-was-built").is_file()


def test_profile_builds_both_packages_and_clean_removes_them(roll: Path) -> None:
    sources = {path.name for path in roll.iterdir()}
    make(roll, "reroll", "profile")
    built = {path.name for path in roll.iterdir()} - sources
    assert built == {
        "hello-1.0-1.noarch.disk1.iso",
        "roll-hello-kickstart_1.0-1_all.deb",
        "roll-hello-kickstart-1.0-1.noarch.rpm",
    }
    make(roll, "clean")
    assert {path.name for path in roll.iterdir()} == sources


def test_help_lists_the_targets(roll: Path) -> None:
    listed = {line.split()[1] for line in make(roll, "help").splitlines()}
    assert listed == {"help", "roll", "reroll", "profile", "deb", "rpm", "test", "clean"}
