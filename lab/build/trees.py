"""Debian trees in folders, unpacked and configured by mmdebstrap: nothing of them is installed on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.build.mirrors import release
from rocks.core.errors import ToolError
from rocks.core.process import run, run_checked

_DEADLINE_SECONDS = 1200.0
_CHROOT_DEADLINE_SECONDS = 1800.0


def make_tree(
    folder: Path,
    packages: Sequence[str],
    sources: str,
    left_out: Sequence[str] = (),
    preferred_release: str = "",
    last_step: str = "",
) -> None:
    """A minimal Debian with the packages in `folder`, which must not exist or be empty.

    `left_out` are file patterns that are not unpacked; `last_step` is shell that runs inside at the end, while apt
    still works there. ToolError with mmdebstrap's last output when it fails: most
    often a mirror does not answer.
    """
    arguments = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
        f"--include={','.join(packages)}",
        '--aptopt=Apt::Install-Recommends "0"',
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::http::Timeout "30"',
        *((f'--aptopt=APT::Default-Release "{preferred_release}"',) if preferred_release else ()),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in left_out),
        *((f"--customize-hook=chroot \"$1\" sh -c '{last_step}'",) if last_step else ()),
        *(release(), str(folder), "-"),
    ]
    answer = run(arguments, deadline_seconds=_DEADLINE_SECONDS, standard_input=sources.encode())
    if answer.exit_status != 0:
        raise ToolError(f"a Debian tree could not be made: {_reason(answer.error_text)}")


def run_inside(tree: Path, *arguments: str) -> str:
    """Run a program of the tree with the tree as its root folder; returns its output. ToolError when it fails."""
    command = [
        "chroot",
        str(tree),
        "/usr/bin/env",
        "--ignore-environment",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    return run_checked(
        [*command, "LC_ALL=C.UTF-8", *arguments], deadline_seconds=_CHROOT_DEADLINE_SECONDS
    ).text


def kernel_release(tree: Path) -> str:
    """The release of the one kernel in the tree, as `uname -r` will print it. ToolError unless there is exactly one."""
    releases = sorted(path.name for path in (tree / "lib" / "modules").iterdir())
    if len(releases) != 1:
        raise ToolError(f"{tree} has the kernels {releases}; one was expected")
    return releases[0]


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E: ", "Err:", "W: Failed"))]
    if any("Failed to fetch" in line or "Could not connect" in line or "resolving" in line for line in lines):
        first = next(
            line for line in lines if "Failed to fetch" in line or "onnect" in line or "resolving" in line
        )
        return f"the package mirror does not answer ({first}); try again when `apt-get update` works here"
    return " / ".join((errors or lines)[-3:]) or "it printed nothing"
