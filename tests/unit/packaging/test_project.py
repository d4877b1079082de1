"""pyproject.toml, requirements and packages say the same; without them, `make` names the set-up."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core import process
from rocks.core.version import PACKAGED_MODULES, is_packaged

_PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]


def _names(lines: list[str]) -> set[str]:
    return {
        re.split(r"[<>=;\s\\]", line)[0].lower()
        for line in lines
        if line and not line.startswith(("#", " ", "-"))
    }


def test_the_frontend_s_packages() -> None:
    """Those of requirements.in, and all of them are pinned, each with a hash."""
    extras = _PROJECT["optional-dependencies"]
    expected = _names([*extras["frontend"], *extras["nucleus"]])
    assert expected == _names((CHECKOUT / "requirements.in").read_text("utf-8").splitlines())
    pinned = (CHECKOUT / "requirements.txt").read_text("utf-8")
    assert expected <= _names(pinned.splitlines())
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\w)", pinned.strip()))


def test_entry_points_exist() -> None:
    """Each names a function without arguments."""
    for target in _PROJECT["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), target


def test_the_licence_is_apache() -> None:
    """By its identifier and by its text."""
    assert _PROJECT["license"] == "Apache-2.0"
    text = (CHECKOUT / "LICENSE").read_text("ascii")
    assert "Apache License" in text and "Version 2.0, January 2004" in text


def test_the_package_of_every_unit_and_program_is_described() -> None:
    """docs/packaging.md names each package, unit and place."""
    page = (CHECKOUT / "docs/packaging.md").read_text("utf-8")
    control = (CHECKOUT / "packaging/debian/control").read_text("utf-8")
    packages = re.findall(r"^Package: (\S+)$", control, re.MULTILINE)
    units = [path.name for path in (CHECKOUT / "packaging/files/units").glob("*.service")]
    assert len(packages) == 7 and len(units) >= 11
    assert [name for name in (*packages, *units) if f"`{name}`" not in page] == []
    spec = (CHECKOUT / "packaging/rpm/rocks.spec").read_text("utf-8")
    assert set(re.findall(r"^%package -n (\S+)$", spec, re.MULTILINE)) == set(packages)


def test_packaged_programs_know_it() -> None:
    """By their place alone."""
    assert is_packaged(f"{PACKAGED_MODULES}/rocks/version.py")
    assert not is_packaged(str(CHECKOUT / "src/rocks/core/version.py"))
    assert not is_packaged(f"{PACKAGED_MODULES}2/rocks/version.py")
    assert Path(PACKAGED_MODULES).is_absolute()


@pytest.mark.parametrize("target", ["check", "lint", "reference", "new-command"])
def test_make_names_its_remedy_in_a_checkout_that_is_not_set_up(tmp_path: Path, target: str) -> None:
    for name in ("Makefile", "version.mk"):
        (tmp_path / name).write_bytes((CHECKOUT / name).read_bytes())
    made = process.run(["make", "-C", str(tmp_path), target], deadline_seconds=30)
    assert made.exit_status == 2 and "run make setup" in made.error_text, made
