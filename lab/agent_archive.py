"""Build the archive of the host agent: what a physical host unpacks below /opt/rocks.

    python3 -m lab.agent_archive FOLDER

writes FOLDER/rocks-agent-VERSION.tar.gz and prints its path. It holds `lib/rocks-agent.pyz` with the rooms that run
on a host, `libexec/rocks-agent`, which starts the agent with the host's own Python, and `libexec/rocks-libvirt-hook`,
to be linked as /etc/libvirt/hooks/qemu.d/rocks. The same sources give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import py_compile
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOMS = ("errors.py", "units.py", "clock.py", "process.py", "wire", "devices", "agent")
"""What a host gets of src/rocks; the twins in devices/fake stay at home."""

_CHECKOUT = Path(__file__).resolve().parent.parent
_LONG_AGO = (1980, 1, 1, 0, 0, 0)

_PROGRAM = """\
#!/usr/bin/python3 -I
import os
import sys

if sys.version_info < (3, 9):
    sys.exit("rocks-agent needs Python 3.9 or later, this host has " + sys.version.split()[0])
here = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(here, "..", "lib", "rocks-agent.pyz"))

from rocks.agent.main import main

status = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)  # at once: nothing is left to tidy up, and whoever asked waits for the end
"""

_HOOK = """\
#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/rocks-agent" hook "$@"
"""


def build(folder: Path) -> Path:
    """Write the archive into the folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"rocks-agent-{_version()}.tar.gz"
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    unfinished.write_bytes(gzip.compress(_tar(), mtime=0))
    unfinished.replace(archive)
    return archive


def install(folder: Path) -> None:
    """Put the same files below a folder, as unpacking the archive there would."""
    with tarfile.open(fileobj=io.BytesIO(_tar())) as archive:
        archive.extractall(folder)


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        _add(archive, "lib/rocks-agent.pyz", _modules(), 0o644)
        _add(archive, "libexec/rocks-agent", _PROGRAM.encode("ascii"), 0o755)
        _add(archive, "libexec/rocks-libvirt-hook", _HOOK.encode("ascii"), 0o755)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _modules() -> bytes:
    """Sources, and beside each its byte code, which saves a host of the same Python from compiling at each start."""
    out = io.BytesIO()
    # stored, not deflated: it is read at each start
    with zipfile.ZipFile(out, "w") as archive:
        for source in _sources():
            name = str(source.relative_to(_CHECKOUT / "src"))
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), source.read_bytes())
            archive.writestr(zipfile.ZipInfo(name + "c", _LONG_AGO), _byte_code(source, name))
    return out.getvalue()


def _sources() -> Iterator[Path]:
    package = _CHECKOUT / "src" / "rocks"
    yield package / "__init__.py"
    for room in ROOMS:
        place = package / room
        found = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        yield from (source for source in found if "fake" not in source.relative_to(package).parts)


def _byte_code(source: Path, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "module.pyc"
        py_compile.compile(
            str(source),
            str(compiled),
            dfile=name,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        return compiled.read_bytes()


def _version() -> str:
    text = (_CHECKOUT / "version.mk").read_text("utf-8")
    found = re.search(r"^VERSION\s*=\s*(\S+)$", text, re.MULTILINE)
    assert found, "version.mk names no version"
    return found.group(1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m lab.agent_archive FOLDER")
    print(build(Path(sys.argv[1])))
