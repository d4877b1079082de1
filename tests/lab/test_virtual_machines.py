"""`rocks` against two real hosts over SSH: guests started, moved, lost with their host and found again."""

import json

from lab.machines.sample_cluster import GUESTS, VLAN
from tests.lab.lab_site import LabSite

SUBJECTS = ("src/rocks/agent", "src/rocks/machine/host")


def test_guests_on_two_hosts_run_at_once_on_a_real_vlan(site: LabSite) -> None:
    """One command starts a guest on each host; both count on, each on a macvtap over a tagged device of the trunk."""
    site.done("start", "host", "vm", *GUESTS)
    counts = {guest: site.wait_for_count(host, guest, beyond=0) for guest, host in GUESTS.items()}
    for guest, host in GUESTS.items():
        assert site.status(guest) == "active"
        site.wait_for_count(host, guest, beyond=counts[guest])
        device = json.loads(
            site.lab[host].run(["ip", "-json", "-details", "link", "show", f"trunk0.{VLAN}"]).text
        )[0]
        assert (device["linkinfo"]["info_kind"], device["linkinfo"]["info_data"]["id"]) == ("vlan", VLAN)
        taps = json.loads(site.lab[host].run(["ip", "-json", "link", "show", "type", "macvtap"]).text)
        assert [tap["link"] for tap in taps] == [f"trunk0.{VLAN}"]
    refused = site.rocks("start", "host", "vm", *GUESTS)
    assert refused.exit_status == 1
    assert refused.error_text.count("is already running") == len(GUESTS)


def test_stopped_guest_starts_on_the_other_host_and_counts_on(site: LabSite) -> None:
    """`rocks set host vm physnode=` moves it; its disk carried over, it goes on from where it was stopped."""
    guest = "vm-vc1-0"
    site.done("start", "host", "vm", guest)
    site.wait_for_count("vmh1", guest, beyond=5)
    site.done("stop", "host", "vm", guest)
    stopped_at = site.count("vmh1", guest)
    assert site.domain_state("vmh1", guest) in ("shut off", "absent")
    site.copy_disk(guest, "vmh1", "vmh2")
    site.done("set", "host", "vm", guest, "physnode=vmh2")
    site.done("start", "host", "vm", guest)
    assert site.wait_for_count("vmh2", guest, beyond=stopped_at) > stopped_at
    assert site.status(guest) == "active"
    assert site.domain_state("vmh1", guest) in ("shut off", "absent")


def test_guest_of_a_host_that_lost_its_power_is_recovered(site: LabSite) -> None:
    """The host is killed under the guest; while it is off a start is refused, once it is back the same start works."""
    guest = "vm-vc1-0"
    site.done("start", "host", "vm", *GUESTS)
    site.wait_for_count("vmh1", guest, beyond=0)
    other = site.wait_for_count("vmh2", "vm-vc1-1", beyond=0)
    site.lab["vmh1"].kill()
    assert site.status(guest, attempts=1) == "nostate-error"
    refused = site.rocks("start", "host", "vm", guest)
    assert refused.exit_status == 1
    assert "vmh1" in refused.error_text
    site.lab["vmh1"].boot()
    assert site.status(guest) in ("nostate", "shutoff")
    before = site.count("vmh1", guest)
    site.done("start", "host", "vm", guest)
    assert site.status(guest) == "active"
    site.lab["vmh1"].wait_for(
        ["tail", "-c", "200", f"/var/log/libvirt/qemu/{guest}.console.log"], "count", deadline_seconds=60
    )
    assert site.count("vmh1", guest) != before
    site.wait_for_count("vmh2", "vm-vc1-1", beyond=other)


def test_hosts_that_disagree_with_the_database(site: LabSite) -> None:
    """One host lost a domain behind the database's back, the other runs one that the database has as stopped."""
    site.done("start", "host", "vm", *GUESTS)
    site.lab["vmh1"].run(["virsh", "--quiet", "destroy", "vm-vc1-0"])
    site.lab["vmh1"].run_any(["virsh", "--quiet", "undefine", "vm-vc1-0"])
    document = site.lab["vmh2"].run(["virsh", "--quiet", "dumpxml", "vm-vc1-1"]).text
    site.done("stop", "host", "vm", "vm-vc1-1")
    bare = document.replace('token="', 'token="9')
    site.lab["vmh2"].write_file("/root/domain.xml", bare.encode())
    site.lab["vmh2"].shell(
        f"ip link add link trunk0 name trunk0.{VLAN} type vlan id {VLAN}\n"
        f"ip link set trunk0.{VLAN} up\n"
        "virsh --quiet create /root/domain.xml\n"
    )

    assert site.status("vm-vc1-0") in ("nostate", "shutoff")
    site.done("start", "host", "vm", "vm-vc1-0")
    site.wait_for_count("vmh1", "vm-vc1-0", beyond=0)
    assert site.status("vm-vc1-1") == "active"
    refused = site.rocks("start", "host", "vm", "vm-vc1-1")
    assert refused.exit_status == 1
    assert "vm-vc1-1" in refused.error_text
    site.wait_for_count("vmh2", "vm-vc1-1", beyond=0)


def test_command_on_hosts_reports_each_host(site: LabSite) -> None:
    """`rocks run host` reaches both; a frozen one is `down` and does not keep the other's answer."""
    reported = site.done("run", "host", "vmh1", "vmh2", "collate=yes", "cat /etc/hostname; uname -r")
    lines = reported.splitlines()
    assert {"vmh1: vmh1", "vmh2: vmh2"} <= set(lines)
    assert len(lines) == 4
    site.lab["vmh1"].freeze()
    half = site.rocks("run", "host", "vmh1", "vmh2", "collate=yes", "timeout=20", "cat /etc/hostname")
    assert half.exit_status == 3
    assert "vmh2: vmh2" in half.text
    assert "vmh1: down" in half.text
    site.lab["vmh1"].thaw()
    assert site.done("run", "host", "vmh1", "echo again").strip() == "again"
