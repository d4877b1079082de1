"""A host loses its power at any moment of a start: the same command, later, always has the guest run, and once."""

import threading
import time

import pytest

from tests.lab.lab_site import LabSite

SUBJECTS = ("src/rocks/agent", "src/rocks/machine/host")

GUEST = "vm-vc1-0"


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0, 5.0, 8.0])
def test_start_is_repeated_after_a_crash_of_the_host(site: LabSite, seconds: float) -> None:
    """Killed so many seconds after the command began; the output of the command does not matter, only its effect."""
    command = threading.Thread(target=site.rocks, args=("start", "host", "vm", GUEST))
    command.start()
    time.sleep(seconds)
    site.lab["vmh1"].kill()
    command.join(timeout=240)
    assert not command.is_alive()
    site.lab["vmh1"].boot()
    again = site.rocks("start", "host", "vm", GUEST)
    assert again.exit_status == 0, again.error_text
    assert site.status(GUEST) == "active"
    assert site.domain_state("vmh1", GUEST) == "running"
    assert site.domain_state("vmh2", GUEST) == "absent"
    refused = site.rocks("start", "host", "vm", GUEST)
    assert refused.exit_status == 1
    assert "already running" in refused.error_text
