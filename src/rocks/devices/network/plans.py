"""Network devices that each guest of this host needs, stored from its start to its stop to restore them at boot.

A file for each virtual machine, in the folder `links` of the state folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Mapping, Tuple

from rocks.devices.leases import check_name
from rocks.devices.state_folder import ensure_folder
from rocks.errors import IncoherentError, RocksError
from rocks.files import write_file
from rocks.wire.agent import LinkSpec
from rocks.wire.codec import decode, encode

Links = Tuple[LinkSpec, ...]


class LinkPlans:
    """The plans of one host."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "links"

    def remember(self, name: str, links: Links) -> None:
        """Store the devices of a machine; without any, its plan is removed."""
        if not links:
            self.forget(name)
        elif self._read(name) != links:
            ensure_folder(self._folder)
            write_file(self._path(name), json.dumps(encode(links), indent=1) + "\n")

    def recall(self, name: str) -> Links:
        """The devices of a machine. IncoherentError for a plan that cannot be read."""
        return self._read(name)

    def forget(self, name: str) -> None:
        """Remove the plan of a machine."""
        self._path(name).unlink(missing_ok=True)

    def names(self) -> Tuple[str, ...]:
        """Names of all machines with a plan."""
        try:
            found = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return ()
        return tuple(name for name in found if not name.startswith("."))

    def replace(self, plans: Mapping[str, Links]) -> None:
        """Store these plans and remove all others."""
        for name in self.names():
            if name not in plans:
                self.forget(name)
        for name, links in plans.items():
            self.remember(name, links)

    def all_links(self) -> Tuple[Dict[str, LinkSpec], Tuple[RocksError, ...]]:
        """Device → its spec, for all machines; and the errors of plans that cannot be read."""
        found: Dict[str, LinkSpec] = {}
        errors = []
        for name in self.names():
            try:
                found.update({link.device: link for link in self._read(name)})
            except RocksError as error:
                errors.append(error)
        return found, tuple(errors)

    def _read(self, name: str) -> Links:
        path = self._path(name)
        try:
            value = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise IncoherentError(
                f"the network plan {path} cannot be read ({error}); run `rocks sync host vlan` on the frontend"
            ) from None
        links: Links = decode(Links, value, "plan")
        return links

    def _path(self, name: str) -> Path:
        return self._folder / check_name(name)
