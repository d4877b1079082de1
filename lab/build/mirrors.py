"""Where packages come from: this machine's own mirrors of Debian 12, as apt knows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rocks.errors import StateError
from rocks.process import run_checked

RELEASE = "bookworm"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_FORMAT = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)"
_DEADLINE_SECONDS = 30.0


class Mirrors(NamedTuple):
    """Base addresses of Debian's archive and of its security archive."""

    debian: str
    security: str


def read_mirrors() -> Mirrors:
    """The mirrors that apt uses here. StateError when its sources name none of Debian 12."""
    answer = run_checked(["apt-get", "indextargets", "--format", _FORMAT], deadline_seconds=_DEADLINE_SECONDS)
    return parse_mirrors(answer.text.splitlines())


def parse_mirrors(lines: Iterable[str]) -> Mirrors:
    """The mirrors in apt's list of index files, a line each: creator, address, release, component."""
    found: dict[str, str] = {}
    for line in lines:
        words = line.split()
        if len(words) == 4 and words[0] == "Packages" and words[3] == "main":
            found.setdefault(words[2], words[1].rstrip("/"))
    for release in (RELEASE, f"{RELEASE}-security"):
        if release not in found:
            raise StateError(
                f"apt's sources on this machine name no mirror of {release}; the lab is built from Debian 12's "
                "packages: add it to /etc/apt/sources.list.d"
            )
    return Mirrors(found[RELEASE], found[f"{RELEASE}-security"])


def sources(mirrors: Mirrors, backports: bool = False) -> str:
    """Apt sources in deb822 form: with ZFS's `contrib`, and with the backports where they are asked for."""
    suites = f"{RELEASE} {RELEASE}-updates" + (f" {RELEASE}-backports" if backports else "")
    stanzas = ((mirrors.debian, suites), (mirrors.security, f"{RELEASE}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {address}\nSuites: {names}\nComponents: main contrib\nSigned-By: {_KEYRING}\n"
        for address, names in stanzas
    )
