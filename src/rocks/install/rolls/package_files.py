"""Package files: name, version and architecture of a deb or rpm, from the file itself."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.process import run
from rocks.core.reproducible import ENVIRONMENT
from rocks.install.rolls.content import NO_ARCHITECTURE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "i386": "i386", "aarch64": "arm64", "ppc64le": "ppc64el"}
"""Architecture of a roll → its name in Debian."""

_DPKG_SECONDS = 60
_FIELD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,199}")
"""What names, versions and architectures consist of: they become names of files."""

_RPM_LEAD_BYTES = 96
_RPM_HEADER = struct.Struct(">4s4xII")
_RPM_ENTRY = struct.Struct(">IIII")
_RPM_MAGIC = b"\x8e\xad\xe8\x01"
_RPM_LARGEST = 256 * 1024 * 1024
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCHITECTURE, _SOURCE_PACKAGE = 1000, 1001, 1002, 1003, 1022, 1044


class Package(NamedTuple):
    """A package file. `key` orders versions of the same name. `arch` is as in the package: amd64, all, x86_64 …"""

    path: Path
    kind: str
    """deb, rpm, or src for the source of an rpm."""
    name: str
    version: str
    arch: str
    key: Any

    @property
    def file_name(self) -> str:
        """The usual name of the file, without an epoch, whose colon file systems and URLs do not like."""
        version = self.version.rpartition(":")[2]
        if self.kind == "deb":
            return f"{self.name}_{version}_{self.arch}.deb"
        return f"{self.name}-{version}.{'src' if self.kind == 'src' else self.arch}.rpm"

    def runs_on(self, arch: str) -> bool:
        """Whether the package belongs in a roll of that architecture."""
        if self.kind == "src" or self.arch in ("all", NO_ARCHITECTURE):
            return True
        return self.arch == (DEBIAN_ARCHITECTURES.get(arch, arch) if self.kind == "deb" else arch)


def read_package(path: Path) -> Package:
    """The package in a file NAME.deb or NAME.rpm. UserError for a file that is no such package."""
    package = _read_deb(path) if path.suffix == ".deb" else _read_rpm(path)
    for text in (package.name, package.version, package.arch):
        if not _FIELD.fullmatch(text):
            raise UserError(
                f'{path} has the name, version or architecture "{printable(text)}", which is not valid'
            )
    return package


def newest_per_name(packages: Iterable[Package]) -> list[Package]:
    """The newest package of each kind, name and architecture, sorted by name."""
    newest: dict[tuple[str, str, str], Package] = {}
    for package in packages:
        place = (package.kind, package.name, package.arch)
        if place not in newest or package.key > newest[place].key:
            newest[place] = package
    return [newest[place] for place in sorted(newest)]


def _read_deb(path: Path) -> Package:
    arguments = ["dpkg-deb", "--field", str(path.absolute()), "Package", "Version", "Architecture"]
    done = run(arguments, deadline_seconds=_DPKG_SECONDS, environment=ENVIRONMENT)
    fields = dict(line.split(": ", 1) for line in done.text.splitlines() if ": " in line)
    if done.exit_status != 0 or len(fields) != 3:
        reason = printable(done.error_text) or "it has no name, version or architecture"
        raise UserError(f"{path} is not a whole Debian package: {reason}; build or get it again")
    version = fields["Version"]
    return Package(path, "deb", fields["Package"], version, fields["Architecture"], debian_key(version))


def _read_rpm(path: Path) -> Package:
    try:
        with path.open("rb") as file:
            if file.read(_RPM_LEAD_BYTES)[:4] != b"\xed\xab\xee\xdb":
                raise ValueError("it does not begin as an rpm")
            signature_bytes = _skip_header(file)
            file.read(-signature_bytes % 8)
            tags = _read_header(file)
        name, version, release, arch = (str(tags[tag]) for tag in (_NAME, _VERSION, _RELEASE, _ARCHITECTURE))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise UserError(f"{path} is not a whole rpm: {error}; build or get it again") from None
    epoch = tags.get(_EPOCH, 0)
    kind = "rpm" if _SOURCE_PACKAGE in tags else "src"
    whole = f"{epoch}:{version}-{release}" if epoch else f"{version}-{release}"
    return Package(
        path, kind, name, whole, arch, rpm_key(epoch if isinstance(epoch, int) else 0, version, release)
    )


def _skip_header(file: Any) -> int:
    """Read over a header; its length in bytes."""
    count, size = _header_sizes(file)
    if len(file.read(count * _RPM_ENTRY.size + size)) != count * _RPM_ENTRY.size + size:
        raise ValueError("it is cut off")
    return size


def _read_header(file: Any) -> dict[int, str | int]:
    """The texts and numbers of a header, by tag."""
    count, size = _header_sizes(file)
    entries = [_RPM_ENTRY.unpack(file.read(_RPM_ENTRY.size)) for _ in range(count)]
    store = file.read(size)
    if len(store) != size:
        raise ValueError("it is cut off")
    found: dict[int, str | int] = {}
    for tag, kind, offset, _ in entries:
        if kind in (6, 9) and offset < size:
            found[tag] = store[offset : store.index(b"\0", offset)].decode("utf-8")
        elif kind == 4:
            found[tag] = struct.unpack_from(">I", store, offset)[0]
    return found


def _header_sizes(file: Any) -> tuple[int, int]:
    magic, count, size = _RPM_HEADER.unpack(file.read(_RPM_HEADER.size))
    if magic != _RPM_MAGIC or count * _RPM_ENTRY.size > _RPM_LARGEST or size > _RPM_LARGEST:
        raise ValueError("its header is damaged")
    return count, size


# The order of versions of packages, as dpkg and rpm define it.


_PAIRS = re.compile(r"([^0-9]*)([0-9]*)")
_TOKENS = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")

DebianKey = tuple[object, tuple[object, ...], tuple[object, ...]]
RpmKey = tuple[int, tuple[object, ...], tuple[object, ...]]


def debian_key(version: str) -> DebianKey:
    """A key that orders versions `[EPOCH:]UPSTREAM[-REVISION]` as dpkg does (Debian policy §5.6.12)."""
    epoch, _, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    return (
        _number(epoch),
        _debian_part(upstream if dash else rest),
        _debian_part(revision if dash else "0"),
    )


def rpm_key(epoch: int, version: str, release: str) -> RpmKey:
    """A key that orders packages of one name as rpm does: numbers are newer than letters, `~` is oldest."""
    return epoch, _rpm_part(version), _rpm_part(release)


def _debian_part(text: str) -> tuple[object, ...]:
    pairs = [
        ((*map(_rank, letters), 0), _number(digits))
        for letters, digits in _PAIRS.findall(text)
        if letters or digits
    ]
    return (*pairs, ((0,), _number("")))


def _rank(character: str) -> int:
    """A tilde is older than the end of the text, and letters are older than all else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _number(digits: str) -> tuple[int, str]:
    """Orders numbers of any length without computing them."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _rpm_part(text: str) -> tuple[object, ...]:
    return (*map(_rpm_token, _TOKENS.findall(text)), (0,))


def _rpm_token(token: str) -> tuple[object, ...]:
    if token == "~":
        return (-1,)
    if token == "^":
        return (1,)
    return (3, _number(token)) if token.isdecimal() else (2, token)
