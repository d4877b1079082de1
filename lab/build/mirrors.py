"""Where packages come from: this machine's own mirrors of Debian 12, as apt knows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rocks.errors import StateError
from rocks.process import run, run_checked

RELEASE = "bookworm"
_SECURITY = f"{RELEASE}-security"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_FORMAT = "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)"
_DEADLINE_SECONDS = 30.0
_UPDATE_DEADLINE_SECONDS = 300.0


class Mirrors(NamedTuple):
    """Base addresses of Debian's archive and of its security archive."""

    debian: str
    security: str


def read_mirrors() -> Mirrors:
    """The mirrors that apt uses here; its lists are fetched when there are none, as in a fresh container.

    StateError when its sources name none of Debian 12, or do not answer.
    """
    try:
        return parse_mirrors(_ask_apt())
    except StateError as error:
        update = run(["apt-get", "-q", "update"], deadline_seconds=_UPDATE_DEADLINE_SECONDS)
        failures = [line for line in update.error_text.splitlines() if line.startswith(("E: ", "W: Failed"))]
        if failures:
            raise StateError(
                f"the package mirror does not answer ({failures[0]}); try again when `apt-get update` works here"
            ) from error
        return parse_mirrors(_ask_apt())


def parse_mirrors(lines: Iterable[str]) -> Mirrors:
    """The mirrors in apt's list of index files, a line each: creator, address, release, component.

    StateError when a release is missing there.
    """
    found: dict[str, str] = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 4 and fields[0] == "Packages" and fields[3] == "main":
            found.setdefault(fields[2], fields[1].rstrip("/"))
    for release in (RELEASE, _SECURITY):
        if release not in found:
            raise StateError(
                f"apt's sources on this machine name no mirror of {release}; the lab is built from Debian 12's "
                "packages: add it to /etc/apt/sources.list.d"
            )
    return Mirrors(found[RELEASE], found[_SECURITY])


def _ask_apt() -> list[str]:
    return run_checked(
        ["apt-get", "indextargets", "--format", _FORMAT], deadline_seconds=_DEADLINE_SECONDS
    ).text.splitlines()


def sources(mirrors: Mirrors, backports: bool = False) -> str:
    """Apt sources in deb822 form: with ZFS's `contrib`, and with the backports where they are asked for."""
    suites = f"{RELEASE} {RELEASE}-updates" + (f" {RELEASE}-backports" if backports else "")
    stanzas = ((mirrors.debian, suites), (mirrors.security, _SECURITY))
    return "\n".join(
        f"Types: deb\nURIs: {address}\nSuites: {names}\nComponents: main contrib\nSigned-By: {_KEYRING}\n"
        for address, names in stanzas
    )
