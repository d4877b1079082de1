"""What the packages, the project and the medium of a frontend have, and that they say the same."""

import ast
import importlib
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from lab.namespace import CHECKOUT
from rocks.core import process
from rocks.core.process import run_checked
from rocks.core.version import PACKAGED_MODULES, PACKAGED_PAGES, guide_page, is_packaged

# What the packages have: every file of packaging/files, and everything of ours that a program, unit or page names.


_FILES = CHECKOUT / "packaging/files"
_UNITS = "/usr/lib/systemd/system"
_MODULES = "/usr/lib/python3/dist-packages"
_PLACE = re.compile(r"(?<![\w/.-])/opt/rocks/(?:bin|lib|libexec|share)\b(?:/[\w.-]*\w)*")
_UNIT = re.compile(r"\brocks-[a-z-]+\.(?:service|path|socket|timer)\b")
_WRITTEN_UNIT = re.compile(r"/etc/systemd/system/(rocks-[a-z-]+\.(?:service|path|socket|timer))")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")

_ARCHIVES = "/opt/rocks/lib/systemd"
"""Of the host agent as an archive (`make agent`), which has a unit of its own and is no package."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Package → the paths of its files and folders, as packaging/install lays them."""
    top = tmp_path_factory.mktemp("tree")
    for name in ("docs", "graphs", "nodes", "packaging", "roll", "src"):
        (top / name).symlink_to(CHECKOUT / name)
    for name in ("browser", "man", "vendor", "vendor-nucleus"):
        (top / name).mkdir()
    (top / "man/rocks.8").touch()
    stage = top / "stage"
    run_checked([str(top / "packaging/install"), str(stage), _UNITS, _MODULES], deadline_seconds=300)
    return {package.name: _below(package) for package in stage.iterdir()}


def _below(folder: Path) -> set[str]:
    return {
        f"/{(Path(place) / name).relative_to(folder)}"
        for place, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


@cache
def _texts() -> dict[Path, str]:
    """Each file that runs, or that an operator reads on a machine → its text."""
    found = [CHECKOUT / "packaging/install", *(CHECKOUT / "docs").glob("*.md")]
    for folder in (
        "src/rocks",
        "src/nucleus",
        "src/owners",
        "roll/pragma/owners",
        "nodes",
        "graphs",
        "packaging/files",
        "packaging/man",
        "packaging/monitoring",
        "docs/guide",
    ):
        found += (CHECKOUT / folder).rglob("*")
    texts = (path for path in found if path.is_file() and path.suffix not in (".png", ".pyc", ".zst"))
    return {path: path.read_text("utf-8") for path in texts}


def _named(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """(what a file names, the file)."""
    for path, text in _texts().items():
        for found in set(pattern.findall(text)):
            yield found, str(path.relative_to(CHECKOUT))


def test_every_file_is_in_a_package(installed: dict[str, set[str]]) -> None:
    """Files of sysusers and tmpfiles have the name of their package; debhelper takes them, and the spec names them."""
    spec = (CHECKOUT / "packaging/rpm/rocks.spec").read_text("utf-8")
    names = {Path(path).name for paths in installed.values() for path in paths}
    for path in (*filter(Path.is_file, _FILES.rglob("*")), *(CHECKOUT / "packaging/man").iterdir()):
        if path.suffix in (".sysusers", ".tmpfiles"):
            assert path.stem in installed and f"{path.stem}.conf" in spec, path.name
        else:
            assert path.name in names or path.stem in names, f"{path.name} is in no package"


def test_the_old_client_s_name_is_a_program_too(installed: dict[str, set[str]]) -> None:
    """`cm comet …`, with a manual page, as the policy of Debian asks of each program."""
    for name in ("comet", "cm"):
        assert {f"/usr/bin/{name}", f"/usr/share/man/man1/{name}.1"} <= installed["comet"]


def test_nucleus_has_the_modules_of_comet_that_it_imports(installed: dict[str, set[str]]) -> None:
    """It does not see the modules of the package comet."""
    graph = grimp.build_graph(
        "nucleus", "owners", "comet", exclude_type_checking_imports=True, cache_dir=None
    )
    needed = {
        parent
        for package in ("nucleus", "owners")
        for name in graph.find_upstream_modules(package, as_package=True)
        for parent in (name, name.rpartition(".")[0])
        if parent.startswith("comet")
    }
    have = {
        path.removeprefix("/opt/rocks/lib/python/").removesuffix(".py").removesuffix("/__init__")
        for path in installed["rocks-nucleus"]
        if path.startswith("/opt/rocks/lib/python/comet/") and path.endswith(".py")
    }
    assert {name.replace(".", "/") for name in {*needed, "comet"}} == have


def test_what_is_named_below_opt_is_in_a_package(installed: dict[str, set[str]]) -> None:
    have = set().union(*installed.values())
    absent = {
        (place, source)
        for place, source in _named(_PLACE)
        if place not in have and not place.startswith(_ARCHIVES)
    }
    assert absent == set()


def test_every_unit_that_is_named_comes_from_a_package_or_is_written(installed: dict[str, set[str]]) -> None:
    """Written: by a profile, or by the installer of hosts. Units that an operator copies lie beside the guide."""
    packaged = {Path(path).name for paths in installed.values() for path in paths}
    written = {unit for unit, _ in _named(_WRITTEN_UNIT)}
    for script in (CHECKOUT / "roll").rglob("*"):
        if script.is_file():
            written |= set(_WRITTEN_UNIT.findall(script.read_text("utf-8", "replace")))
    assert {(unit, source) for unit, source in _named(_UNIT) if unit not in packaged | written} == set()


def test_both_kinds_of_packages_care_for_each_unit(installed: dict[str, set[str]]) -> None:
    """A unit that a name of another one starts has no part [Install]: nothing enables it."""
    rules = (CHECKOUT / "packaging/debian/rules").read_text("utf-8")
    spec = (CHECKOUT / "packaging/rpm/rocks.spec").read_text("utf-8")
    for package, paths in installed.items():
        units = {
            Path(path).name for path in paths if Path(path).parent == Path(_UNITS) and not path.endswith(".d")
        }
        for unit in units:
            text = (_FILES / "units" / unit).read_text("utf-8")
            pages = re.findall(r"^Documentation=man:([\w-]+)\((\d)\)", text, re.MULTILINE)
            assert pages, f"{unit} names no manual page"
            for name, section in pages:
                assert f"/usr/share/man/man{section}/{name}.{section}" in paths, unit
            if "[Install]" not in text:
                continue
            for step in ("post", "preun"):
                section = re.split(rf"^%{step} -n {package}$", spec, flags=re.MULTILINE)[1].split("\n%files")[
                    0
                ]
                assert unit in re.split(r"^%(?:post|pre|preun|postun) -n ", section, flags=re.MULTILINE)[0], (
                    unit
                )
            assert unit in rules or f"-N {package}" not in rules, f"debian/rules says nothing of {unit}"


@pytest.mark.parametrize("unit", ["rocks-agent", "rocks-imgstorage-host"])
def test_who_has_a_disk_open_is_seen_of_other_users_processes(unit: str) -> None:
    """/proc shows the open files of a guest, which is no process of root, with this capability alone (proc(5))."""
    text = (_FILES / f"units/{unit}.service").read_text("utf-8")
    assert "CapabilityBoundingSet=~" in text and "CAP_SYS_PTRACE" not in re.sub(
        r"^#.*$", "", text, flags=re.M
    )


def test_units_are_as_exposed_as_the_page_says() -> None:
    """By systemd-analyze(1), which reads the files alone; systemd warns of options that it does not know."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    page = (CHECKOUT / "docs/packaging.md").read_text("utf-8")
    version = run_checked(["systemd-analyze", "--version"], deadline_seconds=60).text.split()[1]
    column = re.findall(r"exposure by systemd (\d+)", page).index(version)
    figures = re.findall(r"^\| `(rocks-[a-z-]+\.service)` \|[^|]*\| (.+) \|$", page, re.MULTILINE)
    rows = {unit: cells.split(" | ")[column] for unit, cells in figures}
    units = sorted((_FILES / "units").glob("*.service"))
    assert set(rows) == {path.name for path in units}
    rate = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    for unit in units:
        rated = run_checked([*rate, str(unit)], deadline_seconds=300)
        assert "Unknown" not in rated.error_text, rated.error_text
        found = re.search(r"Overall exposure level for (\S+): ([0-9.]+)", rated.text)
        assert found and rows[found[1]] == found[2], rated.text[-200:]


def test_pages_that_messages_name_are_there(installed: dict[str, set[str]]) -> None:
    """In a checkout, and on a frontend that was installed."""
    named = [
        node.args[0].value
        for path, text in _texts().items()
        if path.suffix == ".py" and "guide_page(" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "guide_page"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert len(named) >= 3
    for name in named:
        assert Path(guide_page(str(name))).is_file()
        assert guide_page(str(name), "/opt/rocks/lib/python/rocks/version.py") in installed["rocks-cli"]
    by_hand = [
        source for _, source in _named(re.compile(r"\"[^\"\n{}]*docs/guide/")) if source.endswith(".py")
    ]
    assert by_hand == [], "guide_page names a page as it lies on the machine"


def test_links_of_the_guide_lead_somewhere_on_a_frontend(installed: dict[str, set[str]]) -> None:
    dead = set()
    for page in (CHECKOUT / "docs/guide").glob("*.md"):
        for target in _LINK.findall(page.read_text("utf-8")):
            place = os.path.normpath(f"{PACKAGED_PAGES}/guide/{target}")
            if place not in installed["rocks-cli"]:
                dead.add((page.name, target))
    assert dead == set()


# pyproject.toml, requirements and packages say the same; without them, `make` names the set-up.


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


# What is on the medium from which a machine becomes a frontend.


def test_it_has_what_the_graph_names_for_a_frontend() -> None:
    """With each attribute of a frontend, for no network is there for its profile; without the roles of hosts."""
    build = (CHECKOUT / "roll/frontend/build").read_text("utf-8")
    found = re.search(r'"\$top/graphs/default" (server .*(?:\n .*)?)\)', build.replace("\\\n", ""))
    assert found
    program = [sys.executable, str(CHECKOUT / "roll/os/node-packages"), str(CHECKOUT / "nodes")]
    listed = run_checked(
        [*program, str(CHECKOUT / "graphs/default"), *found[1].split()],
        deadline_seconds=60,
        environment={"PYTHONPATH": str(CHECKOUT / "src")},
    )
    names = set(listed.text.split())
    assert {"bind9", "dnsmasq-base", "nftables", "openssh-server", "rabbitmq-server", "slurmctld"} <= names
    assert not names & {"libvirt-daemon-system", "qemu-system-x86", "rocks-agent", "zfsutils-linux"}
