"""`make lab-demo`: a whole site to look at and to type at, by real `rocks` commands against real hosts."""

from __future__ import annotations

from lab.machines import image_storage, sample_cluster, sample_image
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from lab.machines.login import KEY_FILE
from lab.machines.profile import ensure_profiles
from lab.machines.roster import NAS
from lab.machines.sample_cluster import GUESTS, VLAN
from lab.progress import Progress

_LOCAL_SECONDS = 240
_CONSOLE = "/var/log/libvirt/qemu/{guest}.console.log"

_CLOSING_TEXT = """
The site stays up. `bin/lab run bash` is a shell on its frontend, where bin/rocks speaks to it:
  bin/rocks list cluster status=yes
  bin/rocks list host storagemap {nas}     # where each image is, and what comes next
  bin/rocks stop host vm {guest}              # its image is written back to the NAS; list the map again
  bin/rocks set host vm {guest} physnode=vmh2 # and then start it: it is there, with everything, at once
  bin/rocks run host vmh1 vmh2 collate=yes "uptime"
  bin/rocks report host vm config {guest}
On a host (`bin/lab ssh {host}`):
  tail -f {console}     # the guest's serial console, where it counts
  dmsetup table; zfs list; iscsiadm -m session; virsh list; ip -d link show trunk0.{vlan}; zpool status
`bin/lab clean` brings the machines back to where they began, `make lab-stop` ends it all."""


def show_site(lab: Lab) -> None:
    """Set the site up and start its guests, and print each command with its output. RocksError when a step fails."""
    progress = Progress()
    with progress.step("machines in their clean state"):
        lab.return_to_clean_state()
    frontend = Frontend(lab.folder, lab.keys / KEY_FILE, progress.print)
    with progress.step("frontend: a private MariaDB, inside the lab's network"):
        frontend.start()
    ensure_profiles(lab, Frontend(lab.folder, lab.keys / KEY_FILE), progress)
    sample_cluster.set_up(lab, frontend)
    image_storage.set_up(lab, frontend, progress)
    sample_image.put(lab, frontend)
    frontend.done("start", "host", "vm", *GUESTS)
    frontend.done("list", "host", "vm", "showdisks=yes")
    for guest, host in GUESTS.items():
        # whole lines only: the guest may be writing one
        counts = ["grep", "--text", "--only-matching", "--extended-regexp", "count [0-9A-F]{8}"]
        counted = lab[host].wait_for([*counts, _CONSOLE.format(guest=guest)], "count ", 60)
        progress.print(f"  {guest} on {host} reports: {counted.split()[-1]}")
    guest = sample_image.GUEST
    host = GUESTS[guest]
    device = ["dmsetup", "table", f"{sample_image.VOLUME}-snap"]
    with progress.step(f"the image of {guest} follows it to {host}, while it runs"):
        lab[host].wait_for(device, "linear", _LOCAL_SECONDS)
    frontend.done("list", "host", "storagemap", NAS.site_name)
    values = {"guest": guest, "host": host, "nas": NAS.site_name, "vlan": VLAN}
    print(_CLOSING_TEXT.format(**values, console=_CONSOLE.format(guest=guest)))
