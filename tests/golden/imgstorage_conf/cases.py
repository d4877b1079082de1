"""Hosts with golden configurations of the image storage daemons in this folder: name of the file → settings."""

from dataclasses import replace

from rocks.inventory.records import Host
from rocks.storage.volumes.settings import DaemonSettings, RequestedSettings, daemon_settings
from tests.unit.machines import container

NAS = replace(
    container("nas-0-0"),
    membership="NAS Appliance",
    appliance="nas",
    attributes={"imgstorage-network": "storage.example.org", "imgstorage-pool": "images"},
)


def settings(
    host: Host, frontend: str = "head", requested: RequestedSettings | None = None
) -> DaemonSettings:
    """The settings of a host on a site whose network private has the zone local."""
    return daemon_settings(host, frontend, "local", requested or RequestedSettings())


CASES = {
    "nas": settings(NAS),
    "container_by_default": settings(container("vmc-0-0")),
    "container_of_the_sites_own": settings(
        container("vmc-0-1", vm_container_zpool="fast", **{"imgstorage-workers": "3"})
    ),
    "frontend": settings(container("head"), "HEAD"),
    "broker_elsewhere": settings(container("vmc-0-0", RABBITMQ_Server="mq.example.org")),
    "parameters": settings(NAS, requested=RequestedSettings("example.org", "other", "16")),
    "metacharacters": settings(container("vmc-0-0"), 'it\'s "<it>" & ]]> é\n</file>'),
}
