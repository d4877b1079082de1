"""What tools/fresh-root does with a root that is there: its release, its lock, the checkout that was cloned into it."""

import fcntl
import shutil
from pathlib import Path

import pytest

from rocks.core.process import Finished, run, run_checked
from tests.system.lab.conftest import CHECKOUT

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with this tool, committed."""
    folder = tmp_path / "checkout"
    (folder / "tools").mkdir(parents=True)
    for name in ("fresh-root", "release"):
        shutil.copy(CHECKOUT / "tools" / name, folder / "tools")
    run_checked(["git", "init", "--quiet", str(folder)], deadline_seconds=20)
    commit(folder, "first")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that has the folders of the mounts and a release, but no program: a command in it ends with status 127."""
    folder = tmp_path / "root"
    for name in ("root", "proc", "sys", "dev", "tmp", "run", "etc/apt/apt.conf.d", "etc/ssl/certs"):
        (folder / name).mkdir(parents=True)
    (folder / "etc" / "os-release").write_text("VERSION_CODENAME=bookworm\n")
    return folder


def commit(folder: Path, text: str) -> None:
    (folder / "Makefile").write_text(f"# {text}\n")
    run_checked([*GIT, str(folder), "add", "."], deadline_seconds=20)
    run_checked([*GIT, str(folder), "commit", "--quiet", "-m", text], deadline_seconds=20)


def enter(checkout: Path, root: Path, **environment: str) -> Finished:
    program = ["sh", str(checkout / "tools" / "fresh-root"), str(root), "/no-program"]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return run(program, deadline_seconds=60, environment={"PATH": path, **environment})


def test_an_existing_root_gets_the_last_commit_but_keeps_changes_of_its_own(
    checkout: Path, root: Path
) -> None:
    inside = root / "srv" / "rocks" / "Makefile"
    assert enter(checkout, root).exit_status == 127
    assert inside.read_text() == "# first\n"
    commit(checkout, "second")
    assert enter(checkout, root).exit_status == 127
    assert inside.read_text() == "# second\n"
    inside.write_text("# mine\n")
    commit(checkout, "third")
    refused = enter(checkout, root)
    assert refused.exit_status == 1
    assert f"the checkout in {root} has changes of its own: commit or remove them there" in refused.error_text
    assert inside.read_text() == "# mine\n"


def test_a_root_of_another_release_or_in_use_is_refused(checkout: Path, root: Path) -> None:
    refused = enter(checkout, root, DEBIAN_RELEASE="trixie")
    assert refused.exit_status == 1
    assert f"{root} is of bookworm, not trixie: remove it, or name another folder" in refused.error_text
    assert not (root / "srv").exists()
    with (root.parent / "root.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = enter(checkout, root)
    assert refused.exit_status == 1
    assert f"another command is at work in {root}" in refused.error_text
    assert not (root / "srv").exists()
