"""Archives of programs for hosts: our packages as one zip file with byte code, beside the few files that start them.

The same sources give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import py_compile
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
_STATE = CHECKOUT / ".state"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class File(NamedTuple):
    """A file of an archive, beside the packages."""

    text: str
    mode: int = 0o644


class ProgramArchive(NamedTuple):
    """`NAME-VERSION.tar.gz` with `lib/NAME.pyz`, which holds `packages` of src/rocks, and `files`."""

    name: str
    packages: Sequence[str]
    files: Mapping[str, File]

    def build(self, folder: Path) -> Path:
        """Write the archive into the folder; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"{self.name}-{version()}.tar.gz"
        unfinished = archive.with_name(f".{archive.name}.unfinished")
        unfinished.write_bytes(gzip.compress(self._tar(), mtime=0))
        unfinished.replace(archive)
        return archive

    def install(self, folder: Path) -> None:
        """Put the same files below a folder, as unpacking the archive there would."""
        with tarfile.open(fileobj=io.BytesIO(self._tar())) as archive:
            archive.extractall(folder)

    def _tar(self) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            _add(archive, f"lib/{self.name}.pyz", self._modules(), 0o644)
            for name, file in self.files.items():
                _add(archive, name, file.text.encode("ascii"), file.mode)
        return out.getvalue()

    def _modules(self) -> bytes:
        """Sources, and beside each its byte code, which saves a host of the same Python from compiling it."""
        out = io.BytesIO()
        # stored, not deflated: it is read at each start
        with zipfile.ZipFile(out, "w") as archive:
            for source in _sources(self.packages):
                name = str(source.relative_to(CHECKOUT / "src"))
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), source.read_bytes())
                archive.writestr(zipfile.ZipInfo(name + "c", _LONG_AGO), _byte_code(source, name))
        return out.getvalue()


def program(name: str, archive: str, module: str) -> File:
    """A program that runs `main` of a module of that archive, by the host's own Python."""
    return File(
        f"""\
#!/usr/bin/python3 -I
import os
import sys

if sys.version_info < (3, 9):
    sys.exit("{name} needs Python 3.9 or later, this host has " + sys.version.split()[0])
here = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(here, "..", "lib", "{archive}.pyz"))

from {module} import main

status = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(status)  # at once: there is nothing to clean up, and the caller waits for the end
""",
        0o755,
    )


def version() -> str:
    """Ours."""
    text = (CHECKOUT / "version.mk").read_text("utf-8")
    found = re.search(r"^VERSION\s*=\s*(\S+)$", text, re.MULTILINE)
    assert found, "version.mk names no version"
    return found.group(1)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def _sources(packages: Sequence[str]) -> Iterator[Path]:
    package = CHECKOUT / "src" / "rocks"
    for name in packages:
        place = package / name
        yield from sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _byte_code(source: Path, name: str) -> bytes:
    _STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_STATE) as folder:  # not in /tmp: a kill would leave it there
        compiled = Path(folder) / "module.pyc"
        py_compile.compile(
            str(source),
            str(compiled),
            dfile=name,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        return compiled.read_bytes()
