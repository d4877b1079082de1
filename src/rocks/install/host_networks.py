"""The network devices and routes of hosts, as the hosts read them: the part of a profile that sets them up."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.install.graph.shell import files_text
from rocks.network.host_network_files import SERVICES, file_permissions, network_files, removal_text
from rocks.network.host_network_plan import plan_devices, unreachable_routes

if TYPE_CHECKING:
    from rocks.install.profile_values import Value
    from rocks.inventory.records import Host


def network_values(host: Host, packaging: str) -> dict[str, Value]:
    """The commands of bash that write the files of the host's devices; without devices it has none."""
    service = SERVICES.get(packaging, SERVICES["deb"])
    try:
        devices = plan_devices(host)
    except UserError as error:
        return {
            "network_service": service,
            "network_script": _warning(f"the network devices of this host are not set up: {error}"),
        }
    if not devices:
        none = StateError(f"host {host.name} has no device with a MAC address: rocks set host interface mac")
        return {"network_service": service, "network_script": none}
    files = network_files(devices, packaging)
    places = [(path, text, file_permissions(path)) for path, text in files.items()]
    lines = [
        files_text(places),
        removal_text(devices, packaging),
        "rocks_network",
    ]
    lines += [
        _warning(
            f"the route to {route.destination} is left out, for no device is on the network of its gateway "
            f"{route.gateway}: rocks list host interface {host.name}"
        )
        for route in unreachable_routes(host, devices)
    ]
    return {"network_service": service, "network_script": "\n".join(lines)}


def _warning(text: str) -> str:
    return f"rocks_warn {shlex.quote(text)}"
