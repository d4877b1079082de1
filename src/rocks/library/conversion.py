"""Conversions by qemu-img and other tools, below bounds of memory, time and size; formats are stated, never probed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rocks.core.errors import HostError, ToolError, UserError
from rocks.core.process import Finished, run
from rocks.core.terminal import one_line
from rocks.core.values import BYTES_PER_GIB, size_text
from rocks.library.progress import Progress

RESERVED_BYTES = BYTES_PER_GIB
"""What stays free in the file system of a library."""

_TOOL_SECONDS = 4 * 3600
_TOOL_MEMORY_BYTES = 2 * BYTES_PER_GIB
_CHECK_EVERY_BYTES = 64 * 1024**2
_PERCENT = re.compile(rb"\(\s*([0-9.]+)/100%\)")
"""Progress of `qemu-img convert -p` (7.2), each followed by a carriage return."""

Watch = Callable[[float], None]
"""Gets the percentage that is done, at each output of the program; what it raises ends the conversion."""


def convert_qcow2(source: Path, target: Path, max_bytes: int, progress: Progress) -> None:
    """Write the disk of the qcow2 image as a raw file, without blocks of zeros. UserError when it is damaged."""
    check_space(target.parent)
    progress("checking the image")
    check_qcow2(source, max_bytes)
    if write_raw(
        source, target, max_bytes, _reporting(progress, lambda: check_space(target.parent))
    ).exit_status:
        check_space(target.parent)
        raise UserError("qemu-img cannot convert it; it may be damaged: fetch it again")


def check_qcow2(source: Path, max_bytes: int) -> None:
    """UserError when a qcow2 image is damaged; `qemu-img convert` reads what is cut off as zeros."""
    checked = run_tool(["qemu-img", "check", "-q", "-f", "qcow2", str(source)], max_bytes)
    if checked.exit_status not in (0, 3):  # 3: clusters that are in use by nobody, which do no harm
        raise UserError("qemu-img check finds errors in it; it may be cut off: fetch it again")


def write_raw(
    source: Path, target: Path, max_bytes: int, watch: Watch, seconds: int = _TOOL_SECONDS
) -> Finished:
    """Write the disk of the qcow2 image as a raw file; the caller looks at the exit status."""
    arguments = ["-f", "qcow2", "-O", "raw", "-S", "64k", str(source), str(target)]
    return _convert(arguments, max_bytes, watch, seconds)


def write_qcow2(
    source: int, target: int, max_bytes: int, progress: Progress, check: Callable[[], None]
) -> None:
    """Write an open raw disk as a compressed qcow2 image into an open, empty file.

    The file has no way by its name: in a folder of another user it may be another file meanwhile. ToolError; what
    `check` raises ends it.
    """
    options = ["-c", "-o", "compression_type=zstd"]
    arguments = ["-f", "raw", "-O", "qcow2", *options, str(opened(source)), str(opened(target))]
    if _convert(arguments, max_bytes, _reporting(progress, check)).exit_status:
        check()
        raise ToolError("qemu-img cannot write a qcow2 image; give format=raw")


def opened(descriptor: int) -> Path:
    """Where another process of this user finds a file that is open here."""
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


class SpaceError(HostError):
    """The file system of the library has too little free space; what was written may be continued later."""


def check_space(folder: Path, needed_bytes: int = 0) -> None:
    """SpaceError when less than the reserve is free, or would be after writing so many bytes."""
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    if free_bytes < RESERVED_BYTES + needed_bytes:
        needed = f"{size_text(needed_bytes)} more are needed, " if needed_bytes else ""
        raise SpaceError(
            f"{folder} has {size_text(free_bytes)} free, {needed}and {size_text(RESERVED_BYTES)} must stay free; "
            "remove images (rocks list image), or set the attribute image_library to a larger file system"
        )


class SpaceWatch:
    """Looks at the free space before the first bytes are written, and now and then after it."""

    def __init__(self, check: Callable[[int], None]) -> None:
        """`check` gets the bytes that were written, and raises where too little is free for the rest."""
        self._check = check
        self._written = self._next_check = 0

    def count(self, size_bytes: int) -> None:
        """So many more bytes are written now."""
        if self._written >= self._next_check:
            self._check(self._written)
            self._next_check = self._written + _CHECK_EVERY_BYTES
        self._written += size_bytes


def _reporting(progress: Progress, check: Callable[[], None]) -> Watch:
    progress("converting the image")

    def watch(percent: float) -> None:
        check()
        progress(f"converting the image: {percent:.0f} %")

    return watch


def _convert(
    arguments: Sequence[str], max_bytes: int, watch: Watch, seconds: int = _TOOL_SECONDS
) -> Finished:
    reached = [0.0]

    def printed(output: bytes) -> None:
        reached.extend(map(float, _PERCENT.findall(output)))
        watch(reached[-1])

    return run_tool(["qemu-img", "convert", "-p", *arguments], max_bytes, seconds, printed)


def run_tool(
    arguments: list[str],
    max_bytes: int,
    seconds: int = _TOOL_SECONDS,
    watch: Callable[[bytes], None] | None = None,
    input_descriptor: int | None = None,
) -> Finished:
    """Run the program below bounds; it writes no file of more than `max_bytes`. What `watch` raises ends it."""
    bounds = [f"--as={_TOOL_MEMORY_BYTES}", f"--cpu={seconds}", f"--fsize={max_bytes}", "--core=0"]
    try:
        return run(
            ["prlimit", *bounds, *arguments],
            deadline_seconds=seconds,
            watch=watch,
            input_descriptor=input_descriptor,
        )
    except ToolError as error:
        raise HostError(one_line(str(error))) from None
