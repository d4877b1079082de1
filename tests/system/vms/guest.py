"""A machine whose guest has a system of its own: it has a shell on its serial line, and writes to a log."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.guest import image
from rocks.core.process import start_with_pipes
from rocks.fleet.wire.requests import console_log
from tests.system.vms.site import CHECKOUT, IMAGES, ThreeMachines
from tests.waiting import wait_until

SECONDS = 600.0


class Guest:
    """A machine with one CPU on a host; `sizes` are its memory and bounds, `parameters` those of its kernel.

    It has started when this returns. Skips the test where the guest's kernel is missing.
    """

    def __init__(
        self, site: ThreeMachines, name: str, host: str, sizes: str = "mem=192", parameters: str = ""
    ) -> None:
        kernel, images = (CHECKOUT / ".state/guest" / folder for folder in ("kernel", "images"))
        if not (kernel / "complete").exists():
            pytest.skip("the guest's kernel is not there; run `make setup`")
        self.site, self.name, self.host = site, name, host
        site.add_vm(name, host, "cpus=1")
        site.done(f"set host vm {name} {sizes}")
        site.done(f"set host boot {name} action=os")
        image.make_disk(image.ensure_base_image(kernel, images), self.disk(), name, 1000**3, parameters)
        site.done(f"set host image {host} {IMAGES}/{name}.vda vm={name}")
        site.done(f"start host vm {name}")
        ((self.uuid,),) = site.sql("SELECT UUID FROM vm_nodes")
        self.wait(lambda: f"guest ready: name={name}" in self.printed())

    def disk(self, end: str = "") -> Path:
        """The file of its first disk, or one whose name is continued so."""
        return self.site.machines[self.host].outside(f"{IMAGES}/{self.name}.vda{end}")

    def printed(self, host: str = "") -> str:
        """What the guest has printed while it was on the host; '' is the one where it was started."""
        path = self.site.machines[host or self.host].outside(console_log(self.uuid))
        return path.read_text(errors="replace") if path.exists() else ""

    def type(self, line: str, answer: str) -> None:
        """Type a line at the guest's shell, and wait until the guest has printed the answer.

        The terminal stays open meanwhile: QEMU reads from it only while somebody has it open.
        """
        terminal = self.site.virsh(self.host, "ttyconsole", self.name).text.strip()
        typist = start_with_pipes(
            self.site.machines[self.host].command(["/bin/sh", "-c", f"cat >{terminal}"])
        )
        try:
            typist.stdin.write(f"{line}\n".encode())
            typist.stdin.flush()
            self.wait(lambda: answer in self.printed())
        finally:
            typist.stdin.close()
            typist.wait(60)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds; the error shows what the guest has printed."""
        wait_until(condition, lambda: self.printed()[-2000:], SECONDS)
