"""The settings and the Python packages of rocks-nucleus."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from nucleus.configuration import Configuration, read_configuration
from rocks.core.process import run

_SETTINGS = CHECKOUT / "packaging/files/nucleus.toml"


def test_the_settings_of_the_package_are_the_defaults_but_for_the_executor(tmp_path: Path) -> None:
    """Also when every line with a default is made one of the file: it names no setting that there is not."""
    expected = Configuration()
    expected = replace(expected, executor=replace(expected.executor, kind="socket"))
    assert read_configuration(_SETTINGS, {}) == expected
    whole = tmp_path / "nucleus.toml"
    whole.write_text(re.sub(r"^# ([a-z_0-9]+ = )", r"\1", _SETTINGS.read_text("utf-8"), flags=re.MULTILINE))
    assert whole.read_text("utf-8").count("\n# ") < 13
    assert read_configuration(whole, {}) == expected


def _tree(folder: Path, frontend: str, nucleus: str) -> Path:
    """A source tree with these needs, and for two Pythons packages a (needs b), b, c (needs b, d) and d."""
    needs_of = {"a": ["B>=1"], "b": [], "c": ["b", "D.d[x]>=2; python_version > '3'"], "d-d": []}
    for number in ("311", "313"):
        wheels = folder / f"wheels/3.{number[1:]}"
        for name, needs in needs_of.items():
            module = name.replace("-", "_")
            info = wheels / f"{module}-1.dist-info"
            info.mkdir(parents=True)
            lines = [f"Requires-Dist: {one}" for one in [*needs, "absent; extra == 'x'"]]
            (info / "METADATA").write_text(
                "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *lines, ""])
            )
            (info / "WHEEL").write_text(f"Tag: cp{number}\n")
            (wheels / module).mkdir()
            compiled = f"{module}.cpython-{number}-x86_64-linux-gnu.so"
            for file in (f"{module}/__init__.py", f"{module}/{compiled}", compiled):
                (wheels / file).touch()
            files = (f"{module}/__init__.py", f"{module}/{compiled}", compiled, f"{info.name}/METADATA")
            (info / "RECORD").write_text("".join(f"{file},,\n" for file in (*files, f"../../bin/{module}")))
    (folder / "pyproject.toml").write_text(
        f"[project.optional-dependencies]\nfrontend = [{frontend}]\nnucleus = [{nucleus}]\n"
    )
    return folder


def test_what_only_nucleus_needs_is_moved(tmp_path: Path) -> None:
    tree = _tree(tmp_path, '"A>=1"', '"c", "b"')
    ended = run([str(CHECKOUT / "packaging/split-vendor"), str(tree)], deadline_seconds=60)
    assert (ended.exit_status, ended.error_text) == (0, "")
    compiled = [f".cpython-{number}-x86_64-linux-gnu.so" for number in ("311", "313")]
    for folder, names in ((tree / "vendor", ("a", "b")), (tree / "vendor-nucleus", ("c", "d_d"))):
        there = {path.name for path in folder.iterdir()}
        assert there == {name + more for name in names for more in ("", *compiled, "-1.dist-info")}
        for name in names:
            modules = {path.name for path in (folder / name).iterdir()}
            assert modules == {"__init__.py", *(name + more for more in compiled)}
    assert not (tree / "wheels").exists()


def test_a_file_that_differs_between_two_pythons_is_named(tmp_path: Path) -> None:
    """One folder is for both."""
    tree = _tree(tmp_path, '"a"', '"c"')
    (tree / "wheels/3.13/b/__init__.py").write_text("import sys\n")
    ended = run([str(CHECKOUT / "packaging/split-vendor"), str(tree)], deadline_seconds=60)
    assert ended.exit_status == 1 and "b/__init__.py of the wheel for Python 3.13 differs" in ended.error_text


@pytest.mark.parametrize("nucleus", ['"c", "e>=1"', '"e"'])
def test_a_need_without_a_package_is_named(tmp_path: Path, nucleus: str) -> None:
    ended = run(
        [str(CHECKOUT / "packaging/split-vendor"), str(_tree(tmp_path, '"a"', nucleus))], deadline_seconds=60
    )
    assert ended.exit_status == 1
    assert (
        ended.error_text.startswith("e: pyproject.toml names it") and "make requirements" in ended.error_text
    )
    assert not (tmp_path / "vendor-nucleus").exists()
