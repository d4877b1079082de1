"""A site with image storage, and what tests ask of it: one guest, whose disk is a volume on the NAS."""

import json
import time
from pathlib import Path
from typing import Any

import lab.instruments
from lab.machines import image_storage, sample_image
from lab.machines.machine import LabMachine
from lab.progress import Progress
from tests.lab.lab_site import LabSite
from tests.patience import patience

SUBJECTS = (
    "src/rocks/storage",
    "packaging/files/rocks-imgstorage-*",
    "packaging/files/units/rocks-imgstorage-*",
    "lab/instruments/verifier.py",
)

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

    def copy_slowly(self, first_mb: int, data_mb: int, speed: str) -> None:
        """Write data to the image, from that MiB on, and have it copied at that speed."""
        self.nas.shell(
            f"dd if=/dev/urandom of=/dev/zvol/tank/{VOLUME} bs=1M seek={first_mb} count={data_mb} "
            "conv=fsync status=none\n",
            120,
        )
        self.site.done("set", "host", "storageattr", NAS, "uploadspeed", speed)

    def state(self, volume: str = VOLUME) -> str:
        """The row of the image in `rocks list host storagemap`; the error, where its NAS does not answer.

        `mapped` alone is an image that is local: one that is turning to its copy is `mapped, busy`.
        """
        answer = self.site.rocks("list", "host", "storagemap", NAS, "json=yes")
        if answer.exit_status != 0:
            return f"not reported: {answer.error_text}"
        found = _row_of_image(json.loads(answer.text or "[]"), volume)
        if found is None:
            return "absent"
        word = str(found["state"])
        return f"{word}, busy" if word == "mapped" and found["locked"] else word

    def note(self) -> str:
        """The last column of that row; empty without one."""
        found = _row_of_image(self.site.ask("list", "host", "storagemap", NAS))
        return "" if found is None else found["note"] or ""

    def operations(self) -> list[dict[str, Any]]:
        """The operations that the NAS lists."""
        return self.site.ask("list", "host", "storageop", NAS)

    def wait_for_device_note(self, expected: str | None, deadline_seconds: float = 60) -> None:
        """Until vmh1 lists the guest's device with that note, or without one."""
        end_at = time.monotonic() + patience(deadline_seconds)
        while (found := self.device_note("vmh1")) != expected:
            assert time.monotonic() < end_at, f"the note is {found!r}, not {expected!r}"
            time.sleep(_POLL_SECONDS)

    def device_note(self, host: str) -> str | None:
        """The note of a host's listing about the guest's device."""
        listed = self.site.ask("list", "host", "storagedev", host)
        notes = [row["note"] for rows in listed for row in rows["storagedev"] if row["volume"] == VOLUME]
        return None if notes[0] is None else str(notes[0])

    def digest(self, machine: str, device: str, first_mb: int, size_mb: int) -> str:
        """The SHA-256 of a part of a device of a machine."""
        return self.site.lab[machine].shell(
            f"dd if={device} bs=1M skip={first_mb} count={size_mb} iflag=direct status=none | sha256sum\n",
            120,
        )

    def wait_for_state(self, state: str, deadline_seconds: float = 180, volume: str = VOLUME) -> None:
        """Until the image is in that state."""
        end_at = time.monotonic() + patience(deadline_seconds)
        while (found := self.state(volume)) != state:
            assert time.monotonic() < end_at, f"{volume} is {found}, not {state}"
            time.sleep(_POLL_SECONDS)

    def device_status(self, host: LabMachine) -> str:
        """The guest's device-mapper table on a host, `absent` when there is none."""
        answer = host.run_any(["dmsetup", "table", f"{VOLUME}-snap"])
        return answer.text.split()[2] if answer.exit_status == 0 else "absent"

    def wait_until_local(self, host: str, deadline_seconds: float = 180) -> None:
        """Until the guest's device is the host's own volume."""
        end_at = time.monotonic() + patience(deadline_seconds)
        while (found := self.device_status(self.site.lab[host])) != "linear":
            assert time.monotonic() < end_at, f"the guest's device is {found}"
            time.sleep(_POLL_SECONDS)

    def count_on_nas(self, at_least: int, volume: str = VOLUME) -> int:
        """The verifier's result for the NAS's volume: complete, and with all that the guest had reported."""
        judged = self.nas.run_any(
            ["python3", _VERIFIER, f"/dev/zvol/tank/{volume}", f"at-least={at_least}"], 60
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
        found += [f"operation {row['op']}" for nas in self.operations() for row in nas["storageop"]]
        return [line for line in found if line]


def _row_of_image(rows: list[dict[str, Any]], volume: str = VOLUME) -> dict[str, Any] | None:
    return next((row for host in rows for row in host["storagemap"] if row["zvol"] == volume), None)
