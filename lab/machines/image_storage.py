"""Image storage on the lab's site, set up as an operator does it: broker, certificates, configuration, daemons."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import broker
from lab.broker import BrokerPlace
from lab.machines.frontend import NAME, Frontend
from lab.machines.lab import Lab, together
from lab.machines.machine import LabMachine
from lab.machines.profile import run_profile
from lab.machines.roster import FRONTEND_ADDRESS, Role
from lab.progress import Progress

BROKER = BrokerPlace(Path("/var/opt/rocks/broker"), FRONTEND_ADDRESS, (5671,))
"""Inside the lab's network; where other users can pass."""

_ATTRIBUTES = {
    Role.NAS: {"img_storage_nas": "yes", "img_zpools": "{pool}"},
    Role.HOST: {"img_storage_vm": "yes", "vm_container_zpool": "{pool}", "img_sync": "yes"},
}
"""What makes a machine one of image storage."""

_UNITS = {Role.NAS: "rocks-imgstorage-nas", Role.HOST: "rocks-imgstorage-host"}


def unit_of(machine: LabMachine) -> str:
    """The unit of the daemon that a machine has."""
    return f"{_UNITS[machine.description.role]}.service"


def set_up(lab: Lab, frontend: Frontend, progress: Progress) -> None:
    """Everything, on a site that is described and whose hosts know the frontend's key."""
    names = [machine.description.site_name for machine in lab.machines.values()]
    described = [machine.description for machine in lab.machines.values()]
    frontend.share_keys([machine for machine in described if machine.site_name not in lab.machines])
    for machine in described:
        for name, value in _ATTRIBUTES[machine.role].items():
            frontend.done("set", "host", "attr", machine.site_name, name, value.format(pool=machine.pool))
    frontend.done("add", "host", "certificate", NAME, *names)
    with progress.step("message broker"):
        start_broker(frontend)
    frontend.done("sync", "host", "certificate", NAME, *names)
    with progress.step("image daemons on all machines"):
        together(lambda machine: run_profile(machine, frontend), lab.machines.values())


def start_broker(frontend: Frontend) -> None:
    """Have the broker running, anew, with its certificates and a user for every node."""
    broker.stop(BROKER)
    shutil.rmtree(BROKER.folder, ignore_errors=True)
    BROKER.folder.mkdir(parents=True, exist_ok=True)
    broker.write_control(BROKER, Path("/etc/rocks/broker.conf"))
    frontend.rocks(
        "sync", "broker"
    )  # gives it certificates; its error that the broker does not run is expected
    broker.start(BROKER)
    frontend.done("sync", "broker")
