"""What the set-up does before it changes anything, and that it leaves services as they were."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import Finished, run
from tests.system.lab.conftest import CHECKOUT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PARTS = ("tools", "requirements.txt", "requirements-dev.txt", "src", "lab")
NOBODY = ("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A checkout where nothing was set up, that every user may read."""
    folder = Path(tempfile.mkdtemp(prefix="rocks setup "))
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def set_up(checkout: Path, *before: str, path: str = PATH) -> Finished:
    arguments = [*before, "/bin/sh", str(checkout / "tools" / "setup"), "demo"]
    return run(arguments, deadline_seconds=60, environment={"PATH": path, "LANG": "C.UTF-8"})


def refusal(finished: Finished) -> str:
    """The one line that it refused with."""
    assert finished.exit_status == 1 and finished.output == b"", finished
    lines = finished.error_text.splitlines()
    assert len(lines) == 1 and lines[0].startswith("Error: "), lines
    return lines[0]


@pytest.mark.parametrize("purposes", [(), ("",), ("everything",), ("demo", "test")])
def test_one_purpose_is_needed_and_all_are_named(purposes: tuple[str, ...], checkout: Path) -> None:
    script = checkout / "tools/setup"
    refused = run(["/bin/sh", str(script), *purposes], deadline_seconds=60, environment={"PATH": PATH})
    _, _, named = refused.error_text.strip().partition("usage: tools/setup ")
    assert (refused.exit_status, refused.output) == (1, b"")
    described = re.findall(r"(?m)^#   tools/setup (\w+) ", script.read_text("utf-8"))
    assert sorted(named.split("|")) == sorted(described)
    assert not (checkout / ".state").exists()


@pytest.mark.slow
def test_a_user_other_than_root_gets_an_error_and_nothing_is_created(checkout: Path) -> None:
    assert "needs root" in refusal(set_up(checkout, *NOBODY))
    assert not (checkout / ".state").exists()


def test_the_error_on_a_machine_without_apt_names_an_alternative(checkout: Path, tmp_path: Path) -> None:
    for name in ("dirname", "id", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name, path=PATH) or "")
    line = refusal(set_up(checkout, path=str(tmp_path)))
    assert "apt-get" in line and "Debian 12" in line
    assert not (checkout / ".state").exists()


_OTHERS = {
    "Ubuntu 24.04.3 LTS": 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble',
    "Devuan GNU/Linux 6 (excalibur)": "ID=devuan\nID_LIKE=debian\nVERSION_CODENAME=excalibur",
    "Debian GNU/Linux 11 (bullseye)": 'ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye',
    "Debian GNU/Linux forky/sid": "ID=debian\nVERSION_CODENAME=forky",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _OTHERS)
def test_another_system_is_refused_in_one_line(name: str, checkout: Path, tmp_path: Path) -> None:
    """Also one that is made of Debian's packages, and the next Debian; in a mount namespace of the test's own."""
    described = tmp_path / "os-release"
    described.write_text(f'PRETTY_NAME="{name}"\n{_OTHERS[name]}\n')
    script = 'mount --bind "$1" /etc/os-release && exec sh "$2/tools/setup" test'
    line = refusal(
        run(
            ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(described), str(checkout)],
            deadline_seconds=60,
            environment={"PATH": PATH},
        )
    )
    assert line == f"Error: this machine is {name}: use a Debian 12 or 13 (bookworm, trixie)"
    assert not (checkout / ".state").exists()


@pytest.mark.slow
def test_the_error_for_too_little_disk_space_states_both_sizes_and_the_path(checkout: Path) -> None:
    """On a file system of 40 MB, in a mount namespace of the test's own."""
    mounted = 'mount -t tmpfs -o size=40m,mode=755 small "$1/small"'
    script = f'{mounted} && cd "$1" && cp -R tools requirements* src lab small/'
    (checkout / "small").mkdir()
    finished = run(
        [
            "/usr/bin/unshare",
            "--mount",
            "/bin/sh",
            "-c",
            f"{script} && exec sh small/tools/setup demo",
            "sh",
            str(checkout),
        ],
        deadline_seconds=60,
        environment={"PATH": PATH},
    )
    line = refusal(finished)
    assert " MB of disk space are needed in " in line and " MB are free" in line and "small" in line


@pytest.mark.slow
def test_services_are_held_back_during_the_installation_only(checkout: Path, tmp_path: Path) -> None:
    """With an apt-get that fails: it is tried twice, its last words are shown, and the policy is gone afterwards.

    A folder of the test's own lies over /usr/sbin meanwhile, in its own mount namespace.
    """
    programs, sbin = tmp_path / "programs", tmp_path / "sbin"
    programs.mkdir()
    sbin.mkdir()
    _program(programs / "dpkg-query", "exit 1")
    seen = tmp_path / "seen"
    _program(
        programs / "apt-get",
        'case "$*" in *install*) echo "unable to locate package x"; '
        f'cat /usr/sbin/policy-rc.d >>"{seen}"; exit 100 ;; esac',
    )
    script = 'mount --bind "$1" /usr/sbin && exec sh "$2/tools/setup" demo'
    finished = run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", str(sbin), str(checkout)],
        deadline_seconds=120,
        environment={"PATH": f"{programs}:{PATH}"},
    )
    assert finished.exit_status == 1
    assert (
        "apt-get install failed" in finished.error_text
        and "unable to locate package x" in finished.error_text
    )
    assert seen.read_text().count("exit 101") == 2
    assert list(sbin.iterdir()) == []


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
