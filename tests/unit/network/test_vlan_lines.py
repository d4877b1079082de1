"""Network devices as shell commands: they make the same devices as the agent, and state long names."""

from rocks.core.process import run_checked
from rocks.fleet.wire.links import LinkSpec
from rocks.network import vlan_lines as rendered
from rocks.network.guest_connections import vlan_device
from rocks.network.host import links
from rocks.network.vlan_lines import vlan_lines


def test_a_vlan_device() -> None:
    (line,) = vlan_lines([LinkSpec("eth0.7", "vlan", "eth0", 7, 9000)])
    assert line.startswith(
        "[ -e /sys/class/net/eth0.7 ] || { ip link add link eth0 name eth0.7 type vlan id 7 && "
        "echo 1 >/proc/sys/net/ipv6/conf/eth0.7/disable_ipv6; "
    )
    assert line.endswith("; ip link set eth0.7 mtu 9000 arp off alias rocks:7 up; }")


def test_a_long_name_is_stated() -> None:
    device = vlan_device("enp129s0f0np0", 100)
    (line,) = vlan_lines([LinkSpec(device, "vlan", "enp129s0f0np0", 100)])
    assert len(device) <= 15 and device.startswith("v100-")
    assert line.endswith("; }  # enp129s0f0np0.100")


def test_a_bridge_of_the_hosts_own() -> None:
    (line,) = vlan_lines([LinkSpec("p.7", "local_bridge", None, 7)])
    assert "ip link add p.7 type bridge && " in line


def test_the_line_is_valid_for_any_name() -> None:
    (line,) = vlan_lines([LinkSpec("a;b.7", "vlan", "a;b", 7)])
    run_checked(["/bin/sh", "-n"], deadline_seconds=10, standard_input=line.encode())
    assert "a;b" not in line.replace("'a;b.7'", "").replace("'a;b'", "")


def test_the_lines_silence_the_host_as_the_agent_does() -> None:
    assert [(family, name, str(value)) for family, name, value in rendered._SILENT] == list(
        links._ISOLATION_SYSCTLS
    )
