"""A site with image storage, and what tests ask of it: one guest, whose disk is a volume on the NAS."""

from __future__ import annotations

import json
import time
from pathlib import Path

import lab.instruments
from lab.machines import image_storage, sample_image
from lab.machines.machine import LabMachine
from lab.progress import Progress
from tests.lab.lab_site import LabSite

GUEST, VOLUME, NAS = sample_image.GUEST, sample_image.VOLUME, "nas-0-0"
_VERIFIER = "/root/verifier.py"
_POLL_SECONDS = 1.0
_POOL = "vmpool"
_FORGET = f"""\
zfs list -H -t snapshot -o name {_POOL}/{VOLUME} | while read -r name; do
  zfs holds -H "$name" | while read -r held tag rest; do zfs release "$tag" "$held"; done
done
for try in 1 2 3 4 5 6; do zfs destroy -r {_POOL}/{VOLUME} && exit 0; sleep 1; done  # udev may look into it
exit 1
"""
_HOLDS = """\
zfs list -H -t snapshot -o name,userrefs -s createtxg {0} 2>/dev/null | sed '$d' | awk '$2 > 0 {{print "hold on " $1}}'
zfs list -H -t snapshot -o name,userrefs -s createtxg {0} 2>/dev/null | awk '$2 > 1 {{print "holds on " $1}}'
"""
_LEFT_ON_HOST = f"""\
dmsetup ls | grep -v '^No devices' | sed 's/^/mapping /'
iscsiadm -m session 2>/dev/null | sed 's/^/session /'
iscsiadm -m node 2>/dev/null | sed 's/^/node record /'
zfs list -H -o name -t volume | grep -e temp-write -e '\\.seed/' | sed 's/^/volume /'
{_HOLDS.format(f"{_POOL}/{VOLUME}")}
true
"""
_LEFT_ON_NAS = f"""\
cd /sys/kernel/config/target 2>/dev/null && ls -d iscsi/iqn* core/iblock_*/*/ 2>/dev/null | sed 's/^/target /'
zfs get -H -o name,value receive_resume_token -t volume | awk '$2 != "-" && $2 != "" {{print "half received " $1}}'
{_HOLDS.format(f"tank/{VOLUME}")}
true
"""


class ImageSite:
    """The site of `LabSite`, with daemons on all machines."""

    def __init__(self, site: LabSite) -> None:
        self.site = site
        self.nas = site.lab["nas"]

    def set_up(self) -> None:
        """Daemons, and the guest's disk on the NAS; nothing is mapped."""
        image_storage.set_up(self.site.lab, self.site.frontend, Progress())
        sample_image.put(self.site.lab, self.site.frontend)
        self.nas.copy_in(Path(lab.instruments.__file__).parent / "verifier.py", _VERIFIER)

    def state(self) -> str:
        """The row of the image in `rocks list host storagemap`; the error, where its NAS does not answer.

        `mapped` alone is an image that is local: one that is turning to its copy is `mapped, busy`.
        """
        answer = self.site.rocks("list", "host", "storagemap", NAS, "json=yes")
        if answer.exit_status != 0:
            return f"not reported: {answer.error_text}"
        rows = json.loads(answer.text or "[]")
        found = [row for host in rows for row in host["storagemap"] if row["zvol"] == VOLUME]
        if not found:
            return "absent"
        word = str(found[0]["state"])
        return f"{word}, busy" if word == "mapped" and found[0]["locked"] else word

    def wait_for_state(self, state: str, deadline_seconds: float = 180) -> None:
        """Until the image is in that state."""
        end_at = time.monotonic() + deadline_seconds
        while (found := self.state()) != state:
            assert time.monotonic() < end_at, f"{VOLUME} is {found}, not {state}"
            time.sleep(_POLL_SECONDS)

    def device_status(self, host: LabMachine) -> str:
        """The guest's device-mapper table on a host, `absent` when there is none."""
        answer = host.run_any(["dmsetup", "table", f"{VOLUME}-snap"])
        return answer.text.split()[2] if answer.exit_status == 0 else "absent"

    def wait_until_local(self, host: str, deadline_seconds: float = 180) -> None:
        """Until the guest's device is the host's own volume."""
        end_at = time.monotonic() + deadline_seconds
        while (found := self.device_status(self.site.lab[host])) != "linear":
            assert time.monotonic() < end_at, f"the guest's device is {found}"
            time.sleep(_POLL_SECONDS)

    def count_on_nas(self, at_least: int) -> int:
        """The verifier's result for the NAS's volume: complete, and with all that the guest had reported."""
        judged = self.nas.run_any(
            ["python3", _VERIFIER, f"/dev/zvol/tank/{VOLUME}", f"at-least={at_least}"], 60
        )
        assert judged.exit_status == 0, judged.text
        return int(json.loads(judged.text)["count"])

    def forget_copy(self, host: str) -> None:
        """Destroy what a host has kept of the image, as an operator may: the next start there copies all of it."""
        self.site.lab[host].shell(f"zfs list {_POOL}/{VOLUME} >/dev/null 2>&1 || exit 0\n{_FORGET}", 60)

    def leftovers(self, host: str) -> list[str]:
        """What a host, the NAS and its records have that nothing needs when no image is mapped."""
        found = self.site.lab[host].shell(_LEFT_ON_HOST, 60).splitlines()
        found += self.nas.shell(_LEFT_ON_NAS, 60).splitlines()
        maps = [row for nas in self.site.ask("list", "host", "storagemap", NAS) for row in nas["storagemap"]]
        found += [f"lock of {row['zvol']}" for row in maps if row["locked"]]
        operations = self.site.ask("list", "host", "storageop", NAS)
        found += [f"operation {row['op']}" for nas in operations for row in nas["storageop"]]
        return [line for line in found if line]
