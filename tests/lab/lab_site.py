"""The site that tests in the lab begin with, and what they ask of it again and again."""

import json
import re
import time
from typing import Any

from lab.machines import sample_cluster, saved_site
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from rocks.core.errors import HostError
from rocks.core.process import Finished
from tests.patience import patience

SUBJECTS = (
    "bin/rocks",
    "src/rocks/cli/launch.py",
    "src/rocks/cli/main.py",
    "src/rocks/agent",
    "packaging/files/rocks-agent*",
    "packaging/files/rocks-l*",
    "packaging/files/units/rocks-agent*",
    "packaging/files/units/rocks-l*",
    "lab/instruments/counting_guest.S",
)

_COUNT = re.compile(r"^count ([0-9A-F]{8})\r?$", re.MULTILINE)
_POLL_SECONDS = 0.3
_ATTEMPTS = 24


class LabSite:
    """The lab with its frontend: `rocks` commands, and the guests' counts."""

    def __init__(self, lab: Lab, frontend: Frontend) -> None:
        self.lab = lab
        self.frontend = frontend

    def set_up(self) -> None:
        """Database, hosts, keys, cluster, disks; nothing is started."""
        saved_site.ensure(self.lab, self.frontend)

    def rocks(self, *arguments: str) -> Finished:
        """Run a command, whatever its exit status."""
        return self.frontend.rocks(*arguments)

    def done(self, *arguments: str) -> str:
        """Run a command that must succeed; returns its output."""
        return self.frontend.done(*arguments)

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """The output of a listing."""
        rows: list[dict[str, Any]] = json.loads(self.done(*arguments, "json=yes") or "[]")
        return rows

    def status(self, guest: str, attempts: int = _ATTEMPTS) -> str:
        """A virtual machine's state as `rocks list host vm` has it.

        The listing waits 5 s for a host, which an emulated one on a busy machine may need: it is asked again then.
        """
        for _ in range(attempts):
            row = self.ask("list", "host", "vm", guest, "status=yes")[0]
            status = str(row["vm"][0]["status"])
            if status != "nostate-error":
                break
        return status

    def start(self, guest: str, deadline_seconds: float = 240) -> None:
        """Start a guest. Hosts that answer too late for the command, as emulated ones do, are asked again."""
        end_at = time.monotonic() + patience(deadline_seconds)
        while (answer := self.rocks("start", "host", "vm", guest)).exit_status != 0:
            assert "did not answer" in answer.error_text and time.monotonic() < end_at, answer.error_text
            time.sleep(_POLL_SECONDS)

    def domain_state(self, host: str, guest: str) -> str:
        """The state that libvirt on the host itself reports for the domain; `absent` when it knows none."""
        answer = self.lab[host].run_any(["virsh", "--quiet", "domstate", guest])
        return answer.text.strip() if answer.exit_status == 0 else "absent"

    def count(self, host: str, guest: str) -> int:
        """The last count on the guest's console on that host, 0 when there is none yet."""
        log = f"/var/log/libvirt/qemu/{guest}.console.log"
        text = self.lab[host].run_any(["tail", "-c", "4000", log]).text
        counts = _COUNT.findall(text)
        return int(counts[-1], 16) if counts else 0

    def wait_for_count(self, host: str, guest: str, beyond: int, deadline_seconds: float = 60) -> int:
        """Until the guest has counted beyond a number; returns the count. HostError at the deadline."""
        end_at = time.monotonic() + patience(deadline_seconds)
        while (count := self.count(host, guest)) <= beyond:
            if time.monotonic() > end_at:
                raise HostError(
                    f"{guest} on {host} counted to {count} and not beyond {beyond} in {deadline_seconds} s"
                )
            time.sleep(_POLL_SECONDS)
        return count

    def copy_disk(self, guest: str, source: str, target: str) -> None:
        """Carry a stopped guest's disk from one host to another, as the operator of a site without a NAS does."""
        path = sample_cluster.disk_of(guest)
        self.lab[target].write_file(path, self.lab[source].read_file(path), "600")
        self.lab[source].run(["rm", path])
        self.done("set", "host", "image", target, path, f"vm={guest}")
