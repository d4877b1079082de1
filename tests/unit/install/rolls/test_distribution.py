"""The installer of hosts in a roll, and in a distribution: all of its files, or none."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.core.process import run_checked
from rocks.install.rolls import distribution
from rocks.install.rolls.distribution import DistributionPlan, create_distribution
from rocks.install.rolls.iso import create_roll
from tests.rolls import write_roll
from tests.unit.install.rolls.test_roll_sources import makes_no_roll

needs_xorriso = pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
ARCHIVE = b"an archive"


def write_installer(folder: Path) -> Path:
    """The four files of an installer, with a true checksum; returns their folder."""
    place = folder / "installer"
    place.mkdir(parents=True)
    (place / "vmlinuz").write_bytes(b"a kernel")
    (place / "installer.img").write_bytes(b"an initramfs")
    (place / "root.tar.zst").write_bytes(ARCHIVE)
    (place / "root.sha256").write_text(f"{hashlib.sha256(ARCHIVE).hexdigest()}  root.tar.zst\n")
    return place


@needs_xorriso
def test_a_roll_with_an_installer_has_its_files_in_the_manifest(tmp_path: Path) -> None:
    description = write_roll(tmp_path / "source")
    write_installer(tmp_path / "source")
    iso = create_roll(description, tmp_path)
    out = tmp_path / "out"
    run_checked(
        ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/hello/1.0/noarch", str(out)],
        deadline_seconds=60,
    )
    manifest = (out / "SHA256SUMS").read_text()
    for name in ("vmlinuz", "installer.img", "root.tar.zst", "root.sha256"):
        assert f"  installer/{name}\n" in manifest
    assert (out / "installer/root.tar.zst").read_bytes() == ARCHIVE


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / "vmlinuz").unlink(), "the folder installer has no vmlinuz"),
        (lambda place: (place / "root.tar.zst").write_bytes(b"x"), "is not the checksum of root.tar.zst"),
        (lambda place: (place / "root.sha256").write_text("\n"), "is not the checksum of root.tar.zst"),
        (lambda place: (place / "more").write_text("x"), "installer/more is in a place where a roll has no"),
    ],
)
def test_an_incomplete_installer_makes_no_roll(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    description = write_roll(tmp_path / "source")
    damage(write_installer(tmp_path / "source"))
    makes_no_roll(description, message)


def _plan(tmp_path: Path, *names: str) -> DistributionPlan:
    rolls = [tmp_path / "rolls" / name / "1.0/x86_64" for name in names]
    return DistributionPlan(
        "site", "x86_64", rolls, [], tmp_path / "no-site-nodes", tmp_path / "no-site-graphs"
    )


def test_a_distribution_has_the_installer_of_its_roll(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "os", "extra")
    for roll in plan.rolls:
        roll.mkdir(parents=True)
    write_installer(plan.rolls[0])
    done = create_distribution(plan, tmp_path)
    assert done.has_installer
    assert (tmp_path / "site/x86_64/installer/root.tar.zst").read_bytes() == ARCHIVE
    assert len(list((tmp_path / "site/x86_64/installer").iterdir())) == 4
    assert not create_distribution(_plan(tmp_path, "extra"), tmp_path).has_installer
    assert not (tmp_path / "site/x86_64/installer").exists()


def test_a_distribution_is_on_the_disk_before_hosts_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the one before, or the whole new one."""
    plan = _plan(tmp_path, "os")
    write_installer(plan.rolls[0])
    synced, fsync, exchange = set[str](), os.fsync, distribution._exchange

    def recorded(descriptor: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def checked(new: Path, target: Path) -> None:
        assert {str(path) for path in (new, *new.rglob("*"))} <= synced
        exchange(new, target)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(distribution, "_exchange", checked)
    assert create_distribution(plan, tmp_path).folder.is_dir()


def test_a_folder_that_cannot_be_renamed_leaves_the_one_before(tmp_path: Path) -> None:
    """On a file system that exchanges no folders."""
    (tmp_path / "x86_64").mkdir()
    with pytest.raises(FileNotFoundError):
        distribution._replace(tmp_path / "none", tmp_path / "x86_64")
    assert [path.name for path in tmp_path.iterdir()] == ["x86_64"]


def test_two_installers_are_refused_and_the_distribution_stays(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "os", "other")
    for roll in plan.rolls:
        write_installer(roll)
    create_distribution(_plan(tmp_path, "os"), tmp_path)
    with pytest.raises(UserError, match="the rolls os and other each have an installer of hosts"):
        create_distribution(plan, tmp_path)
    assert (tmp_path / "site/x86_64/installer/vmlinuz").is_file()
    assert sorted(path.name for path in (tmp_path / "site").iterdir()) == [".x86_64.lock", "x86_64"]
