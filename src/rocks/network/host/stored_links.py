"""Network devices that each guest of this host needs, stored from its start to its stop to restore them at boot.

A file for each virtual machine, in the folder `links` of the state folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, Mapping, Tuple

from rocks.core.errors import IncoherentError, RocksError
from rocks.core.files import write_file
from rocks.fleet.host.state_folder import (
    Place,
    RecordKind,
    damaged,
    ensure_folder,
    read_json_record,
    record_names,
    remove_record,
)
from rocks.fleet.wire.codec import decode_lenient, encode
from rocks.fleet.wire.requests import LinkSpec
from rocks.leases.host.leases import check_name

Links = Tuple[LinkSpec, ...]

_KIND = RecordKind("the network plan of a machine", "run `rocks sync host vlan HOST` on the frontend")


class StoredLinks:
    """The devices of the guests of one host: the plan of each."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = Place.LINKS.below(state_folder)

    def remember(self, name: str, links: Links) -> None:
        """Store the devices of a machine; without any, its plan is removed. Replaces a damaged plan."""
        if not links:
            self.forget(name)
        elif not self._is_stored(name, links):
            ensure_folder(self._folder)
            write_file(self._path(name), json.dumps(encode(links), indent=1) + "\n")

    def recall(self, name: str) -> Links:
        """The devices of a machine. IncoherentError for a plan that cannot be read."""
        path = self._path(name)
        value = read_json_record(path, _KIND)
        if value is None:
            return ()
        try:
            links: Links = decode_lenient(Links, value, "plan")
        except IncoherentError as error:
            raise damaged(path, _KIND, error) from None
        return links

    def forget(self, name: str) -> None:
        """Remove the plan of a machine. HostError when that fails."""
        remove_record(self._path(name))

    def names(self) -> Tuple[str, ...]:
        """Names of all machines with a plan. HostError when they cannot be listed."""
        return tuple(record_names(self._folder))

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
                found.update({link.device: link for link in self.recall(name)})
            except RocksError as error:
                errors.append(error)
        return found, tuple(errors)

    def _is_stored(self, name: str, links: Links) -> bool:
        try:
            return self.recall(name) == links
        except IncoherentError:
            return False

    def _path(self, name: str) -> Path:
        return self._folder / check_name(name)
