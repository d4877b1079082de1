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
        """What `rocks list host storagemap` says of the image."""
        rows = self.site.ask("list", "host", "storagemap", NAS)
        found = [row for host in rows for row in host["storagemap"] if row["zvol"] == VOLUME]
        return str(found[0]["state"]) if found else "absent"

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

    def count_at_home(self, at_least: int) -> int:
        """What the verifier says of the NAS's volume: whole, and with all that the guest had reported."""
        judged = self.nas.run_any(
            ["python3", _VERIFIER, f"/dev/zvol/tank/{VOLUME}", f"at-least={at_least}"], 60
        )
        assert judged.exit_status == 0, judged.text
        return int(json.loads(judged.text)["count"])

    def leftovers(self, host: str) -> list[str]:
        """What a host and the NAS have that nothing needs when no image is mapped."""
        machine = self.site.lab[host]
        found = machine.run(["dmsetup", "ls"]).text.splitlines()
        found += machine.run_any(["iscsiadm", "-m", "session"]).text.splitlines()
        volumes = machine.run(["zfs", "list", "-H", "-o", "name", "-t", "volume"]).text.splitlines()
        found += [name for name in volumes if "temp-write" in name or ".seed" in name]
        targets = self.nas.shell("ls /sys/kernel/config/target/iscsi 2>/dev/null | grep ^iqn || true")
        return [line for line in [*found, *targets.splitlines()] if line and line != "No devices found"]
