"""Starts that are impossible: one clear line with both figures, exit status 1, and no change."""

import pytest

from rocks.fleet.wire.facts import NodeFact, ShapeFact
from rocks.machine import cpu_models
from rocks.machine.host import facts
from rocks.machine.host.facts import read_machine
from tests.system.machines.site import HEAD, NEW, OLD, MachineSite


def start_error(machines: MachineSite, vm: str) -> str:
    error = machines.refused(f"start host vm {vm}")
    assert len(error.splitlines()) == 1 and machines.running(vm) == []
    assert machines.lease(vm)[1:] == ("released", None)
    assert machines.links(OLD) == []
    return error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("set host vm plain mem=60000000", ("60000000 MB", "MB left of")),
        ("set host cpus plain 255", ("255 CPUs", f"{OLD} has ")),
        ("set host vm plain disksize=1000000", ("1000000.0 GB is larger than its file system of",)),
        (f"set host attr {OLD} kvm false", (f"{OLD} is not a VM container",)),
        ("set host attr plain kvm_device_0 '<broken'", ("not well-formed XML",)),
        (
            "set host vm cdrom plain /etc/shadow",
            ("its CD image /etc/shadow is outside the image directories",),
        ),
        (
            "set host vm plain disk=file:/etc/shadow,vda,virtio",
            (f"is outside the image directories of {OLD}",),
        ),
        ("set host vm plain disk=phy:/dev/vda,vda,virtio", (f"is not a device for guests of {OLD}",)),
    ],
)
def test_what_is_recorded_cannot_start(machines: MachineSite, change: str, message: tuple[str, ...]) -> None:
    vm = machines.add("plain")
    printed = machines.run(change)
    error = start_error(machines, vm)
    for text in message:
        assert text in error
        assert text in printed or "cdrom" not in change
    assert machines.hosts[OLD].domains.calls == [] and machines.files(OLD) == []


def test_two_machines_that_do_not_fit_together(machines: MachineSite) -> None:
    names = [machines.add(f"half{number}") for number in range(2)]
    for name in names:
        machines.run(f"set host vm {name} mem={int(read_machine().memory_mb * 0.6)}")
    error = machines.refused(f"start host vm {' '.join(names)}", status=3)
    assert "half1 is not started" in error
    assert [machines.running(name) for name in names] == [[OLD], []]


def test_invalid_arguments(machines: MachineSite) -> None:
    machines.add("plain")
    before = machines.sql("SELECT * FROM vm_nodes") + machines.sql("SELECT * FROM vm_disks")
    for line, message in [
        ("start host vm nobody", 'cannot resolve host "nobody"'),
        (f"start host vm {OLD}", f"host {OLD} is not a virtual host"),
        ("start host vm", "must supply at least one host"),
        ("stop host vm plain action=explode", 'invalid action "explode"'),
        ("stop host vm plain timeout=-1", "must be an integer"),
        ("stop host vm plain force=maybe", "must be yes or no"),
        ("stop host vm plain force=yes", "must be given together; state as the reason why the host is off"),
        ("pause host vm plain", "is not running on this host"),
        ("resume host vm plain", "plain"),
        ("open host console plain", "plain"),
        ("open host console plain type=holodeck", "type must be one of serial, vnc"),
        ("set host vm plain physnode=plain", "is a virtual machine and cannot run others"),
        ("set host vm plain mem=0", '"mem" parameter must be an integer'),
        ("set host vm plain disk=nonsense", "Invalid disk specification"),
    ]:
        assert message in machines.refused(line), line
        assert machines.sql("SELECT * FROM vm_nodes") + machines.sql("SELECT * FROM vm_disks") == before


def test_a_container_that_is_down(machines: MachineSite) -> None:
    vm = machines.add("waiting", NEW)
    machines.vanish(NEW)
    assert f"cannot reach host {NEW}" in start_error(machines, vm)


@pytest.fixture
def cluster(machines: MachineSite) -> MachineSite:
    """A cluster of three machines on all hosts; no host can forward VLANs."""
    for host in machines.hosts.values():
        host.links._knows_8021q = False
    machines.run(
        f"add cluster 203.0.113.9 2 fe-name=wide cluster-naming=yes fe-container={HEAD} container-hosts='{OLD} {NEW}'"
        " disk-per-compute=1 mem-per-compute=64"
    )
    return machines


def test_host_local_vlans_cannot_connect_a_cluster_over_several_hosts(cluster: MachineSite) -> None:
    assert "8021q" in start_error(cluster, "vm-wide-0")
    cluster.run(f"set host attr {OLD} vlan_transport local")
    error = start_error(cluster, "vm-wide-0")
    assert f"{HEAD}, {NEW}" in error and "place the whole cluster on one host" in error
    assert "would be spread over" in cluster.refused(
        f"add cluster 203.0.113.10 2 fe-name=more cluster-naming=yes fe-container={HEAD} container-hosts='{OLD}'"
    )


def add_tiny(machines: MachineSite, *hosts: str) -> None:
    """The cluster tiny of two on the first host; VLANs of these hosts are local."""
    for host in hosts:
        machines.run(f"set host attr {host} vlan_transport local")
    machines.run(
        f"add cluster 203.0.113.9 1 fe-name=tiny cluster-naming=yes fe-container={OLD} container-hosts={OLD}"
        " disk-per-compute=1 mem-per-compute=64 disk-per-frontend=1"
    )
    machines.run("set host vm tiny mem=64")
    machines.run("set host boot tiny action=os")


def test_a_cluster_starts_and_stops_as_one_on_local_vlans(machines: MachineSite) -> None:
    add_tiny(machines, OLD)
    machines.run("start cluster tiny")
    assert [machines.running(name) for name in ("tiny", "vm-tiny-0")] == [[OLD]] * 2
    (device,) = machines.links(OLD)
    xml = machines.hosts[OLD].domains.document("vm-tiny-0").text
    assert f"'{device}'" in xml or f'"{device}"' in xml
    machines.run("stop cluster tiny")
    assert machines.hosts[OLD].domains.facts() == () and machines.links(OLD) == []
    machines.run("remove cluster tiny")
    assert "tiny" not in machines.run("list host")


def test_computes_wait_for_a_frontend_that_cannot_start(machines: MachineSite) -> None:
    """They would find nothing that installs them."""
    add_tiny(machines, OLD)
    machines.run("set host vm tiny disksize=1000000")
    error = machines.refused("start cluster tiny")
    assert "1000000.0 GB is larger than its file system of" in error
    assert "vm-tiny-0 is not started, since its frontend tiny does not run" in error
    assert "vm-tiny-0 is not started" in machines.refused("start cluster tiny dry-run=yes")
    assert machines.hosts[OLD].domains.calls == [] and machines.files(OLD) == []
    assert machines.lease("vm-tiny-0")[1:] == ("released", None)
    machines.run("start host vm vm-tiny-0")
    machines.run("stop host vm vm-tiny-0")
    machines.run("set host vm tiny disksize=1")
    planned = machines.run("start cluster tiny dry-run=yes")
    assert f"{OLD}: would start tiny" in planned and f"{OLD}: would start vm-tiny-0" in planned
    machines.run("start cluster tiny")
    machines.run("stop host vm vm-tiny-0")
    machines.run("start cluster tiny")
    assert [machines.running(name) for name in ("tiny", "vm-tiny-0")] == [[OLD]] * 2, (
        "the frontend ran already"
    )


def test_a_frontend_that_does_not_boot_its_installer_says_so_to_programs(machines: MachineSite) -> None:
    """Nucleus has words for owners for it, who read that the site could not do it, and waited."""
    add_tiny(machines, OLD)
    machines.hosts[OLD].domains.refusals["start"] = "unable to stat: /boot/kickstart/default/vmlinuz"
    failed = machines.rocks("start host vm tiny json=yes")
    assert '"code": ""' in failed.out, "it boots its disk"
    machines.run("set host boot tiny action=install")
    machines.hosts[OLD].domains.refusals["start"] = "unable to stat: /boot/kickstart/default/vmlinuz"
    failed = machines.rocks("start host vm tiny json=yes")
    assert '"code": "installer_failed"' in failed.out and "rocks set host boot tiny action=os" in failed.err


def test_a_move_says_what_would_not_start_beside_local_vlans(machines: MachineSite) -> None:
    """The machines of a cluster move one after the other; its owner gets the reason of the first between."""
    add_tiny(machines, OLD, NEW)
    reason = f"VLANs of {NEW} are local"
    planned = machines.run(f"move host vm tiny {NEW} dry-run=yes")
    assert f"{NEW}: would refuse the start then: tiny would not start: {reason}" in planned
    assert f"Warning: on {NEW}, tiny would not start: {reason}" in machines.run(f"move host vm tiny {NEW}")
    assert reason in start_error(machines, "tiny")
    assert "Warning" not in machines.run(f"move host vm vm-tiny-0 {NEW}")
    machines.run("start cluster tiny")
    assert [machines.running(name) for name in ("tiny", "vm-tiny-0")] == [[NEW]] * 2


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("list host vm status=", "must be yes or no"),
        ("list host vm output-col=", "only vm-host, slice"),
        ("stop host vm plain action=", "action must be one of poweroff"),
        ("stop host vm plain saved=", "saved must be keep or remove"),
        ("open host console plain type=", "type must be one of serial, vnc"),
        (f"move host vm plain {NEW} disks=", "disks must be copy or there"),
        (f"drain host {OLD} action=", "must be one of"),
        ("add image debian vm=", "see rocks list host vm"),
        ("help ", "rocks help all lists every command"),
    ],
)
def test_a_word_without_end_leaves_room_for_the_remedy(machines: MachineSite, line: str, remedy: str) -> None:
    machines.add("plain")
    (error, *_) = machines.refused(line + "\u202e" + "x" * 5000).splitlines()
    assert remedy in error and len(error) < 400 and "\u202e" not in error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("add cluster '' 2", "must supply an IP address"),
        ("create site answers=", "the path of the file with the answers is empty"),
        ("add roll ''", "the path of an ISO is empty"),
        ("sync host certificate plain", "plain must have no certificate: it is a virtual machine"),
        ("sync dns plain", "plain is a virtual machine, whose files are its owner's"),
        ("pause host vm plain", f"host {OLD}: plain is not running on this host: it is absent"),
    ],
)
def test_a_message_has_its_subject(machines: MachineSite, line: str, message: str) -> None:
    """Also where one machine only was named."""
    machines.add("plain")
    assert f"Error: {message}" in machines.refused(line)


def test_a_cpu_model_that_no_host_has(machines: MachineSite) -> None:
    """It would fail at the next start only. Where no host answers, a model has its form at least."""
    for host in machines.hosts.values():
        host.outputs[cpu_models.COMMAND] = b"qemu64\nHaswell\n\n"
    assert "did you mean Haswell?" in machines.refused("set attr cpu_mode Haswel")
    error = machines.refused(f"add host attr {NEW} CPU_MODE host-modell")
    assert 'no host has the CPU model "host-modell": did you mean host-model?' in error
    for mode in ("Haswell", "host-model", "'custom:<model>x</model>'"):
        machines.run(f"set attr cpu_mode {mode}")
    for name in (OLD, NEW):
        machines.vanish(name)
    machines.hosts[HEAD].outputs = {}
    machines.run("set attr cpu_mode Haswel")
    assert "it must be host-passthrough" in machines.refused("set attr cpu_mode 'my cpu'")


def test_more_memory_than_a_host_has_is_a_warning_when_it_is_recorded(machines: MachineSite) -> None:
    """Of hosts whose memory is known; the start refuses it anyway."""
    machines.add("before")
    assert "Warning" not in machines.run("set host vm before mem=9999999")
    machines.run("set host vm before mem=64")
    machines.run("sync vm lease")
    (memory_mb,) = (
        one
        for (one,) in machines.sql(
            f"SELECT h.MB FROM host_memory h JOIN nodes n ON n.ID = h.Host WHERE n.Name = '{OLD}'"
        )
    )
    available = int(memory_mb) - 256
    warning = f"have {{}} MB of memory, and the host {OLD} had {available} MB for virtual machines"
    assert warning.format(9999999).replace("have", "has") in machines.run("set host vm before mem=9999999")
    assert "Warning" not in machines.run(f"set host vm before mem={available}")
    machines.run("add host vm " + f"{OLD} compute name=second mem=64 disksize=1")
    assert warning.format(available + 64) not in machines.run("set host vm second mem=64")
    printed = machines.run(f"set host vm before second mem={available - 31}")
    assert warning.format(2 * (available - 31)) in printed and "they do not all start there" in printed
    assert "Warning: large has 9999999 MB" in machines.run(
        f"add host vm {OLD} compute name=large mem=9999999"
    )


def test_a_host_with_impossible_cores_stops_no_other_start(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core is leased to one machine: one that its host reports twice was an error of the whole command."""
    impossible = ShapeFact((NodeFact(0, 2**20, ((0, 1), (1, 2))),))
    monkeypatch.setattr(facts, "read_shape", lambda question, sysfs: impossible)
    pinned, other = machines.add("pinned"), machines.add("other", NEW)
    machines.run(f"set host vm {pinned} cpus=4")
    machines.run(f"set host attr {pinned} kvm_cpu_pinning pin_all")
    error = machines.refused(f"start host vm {pinned} {other}", 3)
    assert f"{OLD} sent invalid data" in error and "the CPU 1 twice" in error
    assert machines.running(other) == [NEW] and machines.running(pinned) == []
