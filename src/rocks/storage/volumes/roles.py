"""The roles of a node in image storage, by its attributes. Pure. Source: specification §1.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.values import TRUE_VALUES
from rocks.storage.volumes.places import NAS_APPLIANCE
from rocks.storage.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

FRONTEND_APPLIANCE = "frontend"

_BY_ATTRIBUTE = {
    names.NAS: ("img_storage_nas", NAS_APPLIANCE),
    names.HOST: ("img_storage_vm", "vm-container"),
}
"""Role → the attribute that assigns it, and the appliance that has it when the attribute is not set."""


def storage_roles(attributes: Mapping[str, str]) -> frozenset[str]:
    """The roles of a node, from its attributes, including intrinsic ones."""
    found = {name.lower(): value.lower() for name, value in attributes.items()}
    appliance = found.get("appliance", "")
    roles = set()
    for role, (attribute, usual) in _BY_ATTRIBUTE.items():
        value = found.get(attribute, "")
        if value in TRUE_VALUES or (not value and appliance == usual):
            roles.add(role)
    if appliance == FRONTEND_APPLIANCE:
        roles.add(names.FRONTEND)
    return frozenset(roles)


def why_no_certificate(attributes: Mapping[str, str], is_virtual: bool, is_broker: bool) -> str | None:
    """Why a host must not have a certificate of the storage network (after its name); None when it may.

    A virtual machine belongs to a tenant: with a certificate it could send and receive images of all clusters.
    """
    if is_virtual:
        return "is a virtual machine"
    if not is_broker and not storage_roles(attributes):
        return "is neither a NAS nor a VM container nor the frontend"
    return None
