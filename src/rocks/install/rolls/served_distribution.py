"""Which distribution a host gets, and the frontend itself: what `rocks create distro` has built for the site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.core.errors import HostError
from rocks.install.profile_values import DEFAULT_ARCHITECTURE, ServedDistribution
from rocks.install.rolls import signatures
from rocks.install.rolls.content import DEBS
from rocks.install.rolls.folders import distribution_folder
from rocks.install.rolls.signatures import public_key
from rocks.inventory.address_records import find_private_address
from rocks.storage.broker.broker import node_authority

if TYPE_CHECKING:
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.inventory.records import Host

INSTALL_HOST = "Kickstart_PrivateKickstartHost"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class Distributions:
    """The distributions of this frontend. The database is read when the object is made, and not later."""

    def __init__(self, database: Database, frontend: str) -> None:
        self._folder = distribution_folder(database)
        self._frontend = frontend
        self._address = ""
        if frontend and self._folder.is_dir():
            found = find_private_address(database, frontend)
            self._address = found.address if found else ""

    def of_host(self, host: Host, name: str) -> ServedDistribution:
        """What a host gets whose appliance has the distribution `name`; nothing where it is not built for the host."""
        packaging = host.attribute("packaging")
        arch = host.attributes.get("arch") or DEFAULT_ARCHITECTURE
        if not (_PART.fullmatch(name) and _PART.fullmatch(arch)):
            return ServedDistribution()
        folder = self._folder / name / arch
        if not _index(folder, name, packaging).is_file():
            return ServedDistribution()
        if host.name == self._frontend:
            return ServedDistribution(own_folder=str(folder.absolute()))
        server = host.attribute(INSTALL_HOST) or self._address
        if not _PART.fullmatch(server):
            return ServedDistribution(
                problem="the frontend has no address from which hosts get its distribution: rocks add host interface "
                f"{self._frontend} (on the network private), or rocks set attr {INSTALL_HOST}"
            )
        return self._served(server, f"{name}/{arch}", _signature(folder, name, packaging))

    def _served(self, server: str, place: str, signature: Path) -> ServedDistribution:
        try:
            authority = node_authority().certificate()
            key = public_key(signatures.SIGNING_FOLDER)
        except HostError as error:
            return ServedDistribution(problem=f"{error}; only root reads it")
        if not authority:
            return ServedDistribution(
                problem="the distribution is not served, for the frontend has no certificate: rocks add host "
                f"certificate {self._frontend}, then systemctl enable --now rocks-kickstart"
            )
        if key is not None and not (key and signature.is_file()):
            return ServedDistribution(
                problem=f"the distribution {place} is not signed, and this site has a key in "
                f"{signatures.SIGNING_FOLDER}: rocks create distro, in the folder of rocks report distro"
            )
        return ServedDistribution(server, place, authority, key=key or "")


def _index(folder: Path, name: str, packaging: str) -> Path:
    """The file that a repository has when it is complete."""
    if packaging == "rpm":
        return folder / "repodata" / "repomd.xml"
    return folder / DEBS / "dists" / name / "Release"


def _signature(folder: Path, name: str, packaging: str) -> Path:
    """The signature that hosts read, where the repository has one."""
    index = _index(folder, name, packaging)
    return index.with_name("InRelease" if index.name == "Release" else f"{index.name}.asc")
