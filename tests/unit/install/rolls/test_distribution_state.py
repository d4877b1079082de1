"""Whether a distribution is that of the enabled rolls."""

from pathlib import Path

from rocks.install.rolls.distribution_state import outdated_packages


def _package(folder: Path, name: str, content: str = "x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


def test_only_the_packages_of_the_rolls_are_current(tmp_path: Path) -> None:
    """Of several versions one is enough; a file without an epoch in its name is the same package."""
    ours, other, built = tmp_path / "ours", tmp_path / "other", tmp_path / "rocks-dist"
    _package(ours / "Debian", "a_1_all.deb")
    _package(ours / "Debian", "b_1%3a1_all.deb", "xx")
    _package(other / "Debian", "a_2_all.deb", "newer")
    _package(built / "Debian/pool", "a_2_all.deb", "newer")
    _package(built / "Debian/pool", "b_1_all.deb", "xx")
    assert outdated_packages(built, [ours, other]) == []

    _package(ours / "Debian", "c_1_all.deb")
    assert outdated_packages(built, [ours, other]) == ["c"], "the roll has more"
    assert outdated_packages(built, [ours]) == ["a", "c"], "the roll of its version is disabled"
    assert outdated_packages(tmp_path / "absent", []) == []
