"""`make lab-demo`: a whole site to look at and to type at, by real `rocks` commands against real hosts."""

from __future__ import annotations

from lab.machines import sample_cluster
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from lab.machines.login import KEY_FILE
from lab.machines.sample_cluster import GUESTS, VLAN
from lab.progress import Progress

_CONSOLE = "/var/log/libvirt/qemu/{guest}.console.log"

_CLOSING_WORDS = """
The site stays up. `python3 -m lab.machines run bash` is a shell on its frontend, where bin/rocks speaks to it:
  bin/rocks list cluster status=yes
  bin/rocks stop host vm {guest}
  bin/rocks run host vmh1 vmh2 collate=yes "uptime"
  bin/rocks report host vm config {guest}
On a host (python3 -m lab.machines ssh {host}):
  tail -f {console}     the guest's serial console, where it counts
  virsh list; ip -d link show trunk0.{vlan}; zpool status
`python3 -m lab.machines clean` brings the machines back to where they began, `make lab-stop` ends it all."""


def show_site(lab: Lab) -> None:
    """Set the site up and start its guests, each command shown with what it says. RocksError when a step fails."""
    progress = Progress()
    with progress.step("machines in their clean state"):
        lab.return_to_clean_state()
    frontend = Frontend(lab.folder, lab.keys / KEY_FILE, progress.tell)
    with progress.step("frontend: a private MariaDB, inside the lab's network"):
        frontend.start()
    sample_cluster.set_up(lab, frontend)
    frontend.done("start", "host", "vm", *GUESTS)
    frontend.done("list", "host", "vm", "showdisks=yes")
    for guest, host in GUESTS.items():
        counted = lab[host].wait_for(["tail", "-c", "60", _CONSOLE.format(guest=guest)], "count", 60)
        progress.tell(f"  {guest} on {host} says: {counted.split('count ')[-1].split()[0]}")
    guest, host = next(iter(GUESTS.items()))
    print(_CLOSING_WORDS.format(guest=guest, host=host, vlan=VLAN, console=_CONSOLE.format(guest=guest)))
