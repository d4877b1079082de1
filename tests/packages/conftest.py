"""What the tests on installed packages can ask for.

`built`       the packages in dist/, made by `make packages`
`repository`  a folder with the deb packages and all that they need
`new_root`    makes a fresh, minimal Debian without a network, whose only source of packages is that folder
`medium`      the folder `frontend` of the ISO of `make frontend-iso`
`machine`     a fresh machine without a network and without sources of packages, with that medium

All tests below this folder get the marker `packages`: `make test-packages`.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from rocks.core.process import run_checked
from tests.packages.fresh_roots import CACHE, Root, make_bare_root, make_repository, make_root
from tests.packages.frontend_machine import Machine

NAMES = (
    *("comet", "rocks-agent", "rocks-cli", "rocks-common", "rocks-imgstorage-host", "rocks-imgstorage-nas"),
    "rocks-nucleus",
)


@pytest.fixture(scope="session")
def built() -> dict[str, list[Path]]:
    """Kind → the packages of that kind. Skips where they have not been built, and where roots cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    for program in ("mmdebstrap", "apt-ftparchive", "rpm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup packages")
    found = {
        kind: sorted(path for name in NAMES for path in (CHECKOUT / "dist").glob(f"{name}[-_][0-9]*.{kind}"))
        for kind in ("deb", "rpm")
    }
    if any(len(packages) != len(NAMES) for packages in found.values()):
        pytest.skip("dist/ has not each package once of each kind: make packages")
    return found


@pytest.fixture(scope="session")
def repository(built: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages for Debian, with what they need."""
    return make_repository(tmp_path_factory.mktemp("repository") / "packages", built["deb"])


@pytest.fixture
def new_root(repository: Path, tmp_path: Path) -> Iterator[Callable[[str], Root]]:
    """Makes a root by its name; all end with the test."""
    roots: list[Root] = []

    def make(name: str) -> Root:
        roots.append(Root(make_root(tmp_path / name, repository)))
        roots[-1].done("apt-get", "update", "-q")
        return roots[-1]

    CACHE.mkdir(parents=True, exist_ok=True)
    yield make
    for root in roots:
        root.close()
        shutil.rmtree(root.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the ISO of `make frontend-iso` for a machine that runs Debian."""
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed: tools/setup roll")
    isos = list((CHECKOUT / "dist").glob("rocks-frontend-*.iso"))
    if len(isos) != 1:
        pytest.skip("dist/ has not exactly one rocks-frontend-*.iso: make frontend-iso")
    (iso,) = isos
    folder = tmp_path_factory.mktemp("medium") / "content"
    run_checked(
        ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/frontend", str(folder)],
        deadline_seconds=300,
    )
    return folder


@pytest.fixture
def machine(medium: Path, tmp_path: Path) -> Iterator[Machine]:
    """A fresh machine; it ends with the test."""
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Machine(make_bare_root(tmp_path / "machine"), medium)
    yield made
    made.close()
