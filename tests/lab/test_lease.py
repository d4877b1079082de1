"""The lease (decision 3): one running instance of a machine, whatever its host does."""

import time

from lab.machines.sample_cluster import disk_of
from tests.lab.lab_site import LabSite
from tests.patience import patience

SUBJECTS = ("src/rocks/agent", "src/rocks/machine/host")

GUEST = "vm-vc1-0"


def test_frozen_host_keeps_its_guest_until_it_is_taken_by_force(site: LabSite) -> None:
    """Refused without force; with it the guest runs on the other host, and one contact ends the thawed old one."""
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh1", GUEST, beyond=3)
    image = site.lab["vmh1"].read_file(disk_of(GUEST))
    site.lab["vmh2"].write_file(disk_of(GUEST), image, "600")
    site.done("set", "host", "image", "vmh2", disk_of(GUEST), f"vm={GUEST}")
    site.lab["vmh1"].freeze()
    site.done("set", "host", "vm", GUEST, "physnode=vmh2")

    refused = site.rocks("start", "host", "vm", GUEST)
    assert refused.exit_status == 1
    assert "vmh1" in refused.error_text
    assert site.domain_state("vmh2", GUEST) == "absent"
    not_stopped = site.rocks("stop", "host", "vm", GUEST)
    assert not_stopped.exit_status == 1

    taken = site.rocks("stop", "host", "vm", GUEST, "force=yes", "reason=its host hangs")
    assert taken.exit_status == 0, taken.error_text
    assert "may run twice" in taken.text + taken.error_text
    site.done("start", "host", "vm", GUEST)
    site.wait_for_count("vmh2", GUEST, beyond=0)

    site.lab["vmh1"].thaw()
    assert site.domain_state("vmh1", GUEST) == "running"
    # a listing waits five seconds for a host, which may not be enough for one that has just come back
    end_at = time.monotonic() + patience(300)
    while site.domain_state("vmh1", GUEST) != "absent":
        assert time.monotonic() < end_at, "contacts do not end the guest of the thawed host"
        site.rocks("list", "host", "vm", "status=yes")
    again = site.lab["vmh1"].run_any(["virsh", "--quiet", "start", GUEST])
    assert again.exit_status != 0
    assert site.status(GUEST) == "active"
    assert site.domain_state("vmh2", GUEST) == "running"
