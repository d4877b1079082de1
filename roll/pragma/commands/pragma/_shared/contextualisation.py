"""The vc-out.xml of the machines of a new cluster, of what the site's commands list about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

from rocks.core.errors import StateError

from .vc_out import (
    PRIVATE,
    PUBLIC,
    Common,
    Compute,
    ComputeFile,
    Frontend,
    FrontendFile,
    Interface,
    compute_text,
    frontend_text,
)

if TYPE_CHECKING:
    from .site import Row

ADDRESS, KEYS = "vm_cluster_address", "vm_authorized_keys"
_GATEWAY, _SERVERS = "Kickstart_PublicGateway", "Kickstart_PublicDNSServers"


def vc_out_texts(
    fqdn: str,
    names: Sequence[str],
    cpus: Sequence[int],
    interfaces: Sequence[Row],
    networks: Sequence[Row],
    attributes: Sequence[Row],
) -> dict[str, str]:
    """Machine → its vc-out.xml. `names` are the frontend and its computes, `cpus` those of the computes.

    The rows are those of `list host interface`, `list network` and `list host attr`. StateError for a machine without
    address, UserError for text that XML cannot have.
    """
    values = {(str(row["owner"]), str(row["attr"])): str(row["value"] or "") for row in attributes}
    mtus = {str(row["owner"]): int(str(row["mtu"] or 1500)) for row in networks}
    own = _interfaces(names[0], interfaces, mtus)
    private = next((one for one in own if one.network == PRIVATE), None)
    if private is None or not any(one.network == PUBLIC for one in own):
        raise StateError(f"{names[0]} has no address on the networks {PRIVATE} and {PUBLIC}")
    servers = values.get((names[0], _SERVERS), "").split(",")
    key = values.get((names[0], KEYS), "")
    common = Common(tuple(one.strip() for one in servers if one.strip()), key)
    frontend = Frontend(fqdn, values.get((names[0], _GATEWAY), ""), own)
    computes = []
    for number, (name, count) in enumerate(zip(names[1:], cpus, strict=True)):
        address = IPv4Interface(f"{values[name, ADDRESS]}/{private.address.network.prefixlen}")
        # the site has no address of the one on the cluster's own network
        mac = next(str(row["mac"]) for row in interfaces if row["owner"] == name and not row["ip"])
        on_private = Interface(PRIVATE, mac, address, private.mtu)
        all_own = (on_private, *_interfaces(name, interfaces, mtus))
        computes.append(Compute(f"compute-{number}", count, str(private.address.ip), all_own))
    texts = {names[0]: frontend_text(FrontendFile(frontend, tuple(computes), common))}
    for name, compute in zip(names[1:], computes, strict=True):
        texts[name] = compute_text(ComputeFile(fqdn, compute, common))
    return texts


def _interfaces(name: str, rows: Sequence[Row], mtus: dict[str, int]) -> tuple[Interface, ...]:
    return tuple(
        Interface(
            str(row["subnet"]),
            str(row["mac"]),
            IPv4Interface(f"{row['ip']}/{row['netmask']}"),
            mtus.get(str(row["subnet"]), 1500),
        )
        for row in rows
        if row["owner"] == name and row["ip"] and row["netmask"]
    )
