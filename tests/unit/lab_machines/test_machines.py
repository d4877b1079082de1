"""Names, addresses and files of the machines."""

from pathlib import Path

from lab.build.parts import Built
from lab.machines.emulator import command
from lab.machines.frontend import site_commands
from lab.machines.namespace import network_steps
from lab.machines.roster import MACHINES, NAS, VMH1
from lab.machines.seed import seed_files
from lab.machines.surroundings import read_available_mb

_BUILT = Built(Path("/h"), Path("/n"), Path("/q"), Path("/x"))
_LONGEST_DEVICE_NAME = 15


def test_no_two_machines_share_an_address() -> None:
    """Nor a MAC address, a ZFS host id, an initiator's name or a tap; and taps' names are not too long for Linux."""
    for one in ("address", "storage_mac", "trunk_mac", "host_id", "initiator", "site_name"):
        values = [getattr(machine, one) for machine in MACHINES]
        assert len(set(values)) == len(values), one
    taps = [tap for machine in MACHINES for tap in machine.taps]
    assert len(set(taps)) == len(taps)
    assert all(len(tap) <= _LONGEST_DEVICE_NAME for tap in taps)


def test_files_of_a_machine() -> None:
    """Its name, its address, everybody's names, and its ZFS host id as gethostid(3) reads it."""
    files = seed_files(VMH1, MACHINES)
    assert files["etc/hostname"] == b"vmh1\n"
    assert b"Address=10.9.0.11/16" in files["etc/systemd/network/10-storage.network"]
    assert b"10.9.0.10 nas nas-0-0\n10.9.0.11 vmh1\n" in files["etc/hosts"]
    assert int.from_bytes(files["etc/hostid"], "little") == int(VMH1.host_id, 16)
    assert "etc/systemd/network/10-trunk.network" not in seed_files(NAS, MACHINES)


def test_only_hosts_have_the_trunks_adapter() -> None:
    """The NAS has no virtual functions to give away."""
    host = " ".join(command(_BUILT, VMH1, Path("/f"), with_kvm=False, state=None))
    nas = " ".join(command(_BUILT, NAS, Path("/f"), with_kvm=True, state="clean"))
    assert "igb" in host and "intel-iommu" in host and "-accel tcg" in host and "-loadvm" not in host
    assert "igb" not in nas and "-accel kvm" in nas and nas.endswith("-loadvm clean")


def test_every_tap_is_a_port_of_its_bridge() -> None:
    """Bridges come first."""
    steps = [" ".join(step) for step in network_steps(MACHINES)]
    for machine in MACHINES:
        for tap, bridge in machine.taps.items():
            made = next(at for at, step in enumerate(steps) if step.startswith(f"ip link add {bridge} "))
            joined = next(at for at, step in enumerate(steps) if step.startswith(f"ip link set {tap} mtu"))
            assert made < joined
            assert steps[joined].endswith(f"master {bridge}")


def test_site_is_described_with_every_machine() -> None:
    """Hosts are containers with a trunk; the NAS is none."""
    commands = site_commands(MACHINES)
    added = {
        arguments[2]: arguments[3]
        for arguments in commands
        if arguments[:2] == ("add", "host") and arguments[2] != "interface"
    }
    assert added["vmh1"] == "membership=VM Container"
    assert added["nas-0-0"] == "membership=NAS Appliance"
    trunks = [
        arguments[3]
        for arguments in commands
        if arguments[:3] == ("add", "host", "interface") and arguments[4] == "trunk0"
    ]
    assert trunks == ["vmh1", "vmh2"]


def test_available_memory_is_read_in_megabytes() -> None:
    """The kernel counts in KiB."""
    assert read_available_mb("MemTotal:  100 kB\nMemAvailable:    2000000 kB\nSwapFree: 1 kB\n") == 2048
