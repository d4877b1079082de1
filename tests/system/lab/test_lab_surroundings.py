"""Where the lab cannot run, one line of error names the remedy, and nothing is started."""

import shutil
from pathlib import Path

import pytest

from lab.build import parts
from lab.build.cache import Cache
from lab.build.mirrors import release
from rocks.core.process import run

CHECKOUT = Path(__file__).resolve().parents[3]
_STATE = CHECKOUT / ".state"
_PLACE = Path("/mnt")
"""Where the checkout is seen during a test, for the place where it lies may be closed to others."""

_ROOMY = f'mount -t tmpfs -o size=20G,mode=777 state "{_PLACE}/.state"\n'
_TUN = "mount --bind /dev/null /dev/net/tun\n"
"""A device that every user may open, as /dev/net/tun is elsewhere."""


needs_programs = pytest.mark.skipif(
    shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed (tools/setup lab)"
)
"""Without what builds the lab, the first error is of the installation of that."""


def attempt(surroundings: str, *arguments: str, user: str = "") -> str:
    """Run the lab's program in a mount namespace where a script has changed the surroundings; its one line of error."""
    as_user = ["setpriv", f"--reuid={user}", "--clear-groups", "--"] if user else []
    path = f"PYTHONPATH={_PLACE}:{_PLACE / 'src'}"
    program = ["env", path, "PYTHONDONTWRITEBYTECODE=1", "/usr/bin/python3", "-m", "lab.machines", *arguments]
    script = (
        f'set -e\nmkdir -p "{_STATE}"\nmount --rbind "{CHECKOUT}" {_PLACE}\ncd /\n{surroundings}exec "$@"\n'
    )
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        *as_user,
        *program,
    ]
    finished = run(command, deadline_seconds=120)
    assert finished.exit_status == 1, finished.text + finished.error_text
    lines = finished.error_text.splitlines()
    assert len(lines) == 1, finished.error_text
    assert lines[0].startswith("Error: ")
    return lines[0]


def built(folder: Path) -> str:
    """A script that puts parts, empty but of the right names, where a built lab has them."""
    cache = Cache(_PLACE / ".state" / "lab-cache")
    names = [cache.place(name, key) for name, key in zip(parts.Keys._fields, parts.keys(), strict=True)]
    return _ROOMY + "".join(f'mkdir -p "{name}"\n' for name in names)


def test_no_tun() -> None:
    """Machines without a network are of no use."""
    error = attempt(_ROOMY + "mount -t tmpfs none /dev/net\n", "start")
    assert "/dev/net/tun" in error
    assert "modprobe tun" in error


def test_tun_for_root_only() -> None:
    """The error for a user who may not open it states its usual mode."""
    closed = "mknod /tmp/tun-of-root c 1 3\nchmod 600 /tmp/tun-of-root\nmount --bind /tmp/tun-of-root /dev/net/tun\n"
    error = attempt(_ROOMY + "mount -t tmpfs none /tmp\n" + closed, "start", user="nobody")
    assert "chmod 666 /dev/net/tun" in error


def test_no_root_for_the_build() -> None:
    """Any user may run a lab that is built; only root may build it."""
    assert "run `make lab` once as root" in attempt(_ROOMY + _TUN, "start", user="nobody")


def test_checkout_of_another_user() -> None:
    """A state folder that cannot be written is named."""
    locked = f'mount -t tmpfs -o mode=755 state "{_PLACE}/.state"\n'
    error = attempt(locked + _TUN, "start", user="nobody")
    assert f"{_PLACE}/.state" in error
    assert "checkout of your own" in error


@needs_programs
def test_too_little_space_for_the_build() -> None:
    """How much is needed, where, and how much there is."""
    small = f'mount -t tmpfs -o size=100M state "{_PLACE}/.state"\n'
    error = attempt(small + _TUN, "start")
    assert "building the lab needs 7 GB" in error
    assert "0.1 GB are free" in error


def test_too_little_space_to_run(tmp_path: Path) -> None:
    """A built lab that would fill the disk is not started."""
    full = built(tmp_path).replace("size=20G", "size=1G")
    assert "running the lab needs 4 GB" in attempt(full + _TUN, "start")


def test_little_memory(tmp_path: Path) -> None:
    """The check uses MemAvailable of /proc/meminfo."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal: 4000000 kB\nMemFree: 90000 kB\nMemAvailable: 1000000 kB\n", encoding="ascii"
    )
    error = attempt(built(tmp_path) + _TUN + f'mount --bind "{meminfo}" /proc/meminfo\n', "start")
    assert "1024 MB are available" in error
    assert "end other programs" in error


@needs_programs
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("deb [trusted=yes] http://127.0.0.1:9/debian SUITE main\n", "the package mirror does not answer"),
        ("", f"apt on this machine names no mirror of {release()}"),
    ],
)
def test_mirror_away(tmp_path: Path, source: str, expected: str) -> None:
    """A mirror that refuses connections, and a machine whose apt knows none of this release."""
    sources = tmp_path / "sources.list"
    suites = (release(), f"{release()}-security") if source else ()
    sources.write_text("".join(source.replace("SUITE", suite) for suite in suites), encoding="ascii")
    away = (
        f'mount -t tmpfs none /etc/apt\ncp "{sources}" /etc/apt/sources.list\n'
        "mkdir /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/preferences.d /etc/apt/trusted.gpg.d\n"
        "mount -t tmpfs none /var/lib/apt/lists\nmount -t tmpfs none /var/cache/apt\n"
    )
    error = attempt(_ROOMY + _TUN + away, "build")
    assert expected in error


def test_another_command_at_work() -> None:
    """Two builds, or a start and a stop, do not meet."""
    locked = f'exec 9>>"{_PLACE}/.state/lab.lock"\nflock 9\n'
    assert "another command is building, starting, patching or stopping this lab" in attempt(
        _ROOMY + locked, "stop"
    )


@pytest.mark.parametrize(
    "arguments", [(), ("frobnicate",), ("start", "now"), ("ssh",), ("ssh", "vmh9"), ("run",)]
)
def test_invalid_arguments(arguments: tuple[str, ...]) -> None:
    """Only the usage is printed."""
    assert "usage: bin/lab" in attempt("", *arguments)
