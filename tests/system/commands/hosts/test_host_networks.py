"""Reports of hosts' networks, read by what reads them; bonds, swapped and configured interfaces."""

import shutil
from pathlib import Path

import pytest

from rocks.core.check_lines import WRONG
from rocks.core.process import run_checked
from rocks.database.connection import Database
from rocks.install.boot.files import ServedHost, host_script_name, served_hosts, unserved_hosts
from rocks.inventory.records import Host
from rocks.network import host_network_records
from rocks.network.firewall.changes import firewall_texts
from rocks.network.host_network_files import MARK
from rocks.site.checks import check_site
from tests.system.commands.conftest import Site

A, B, C = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:0c"
_FOLDER = "/etc/sysconfig/network-scripts"


@pytest.fixture
def one(site: Site) -> Site:
    """compute-0-0 with eth0 on private and eth1 without a network."""
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0 ip=10.1.0.7 subnet=private", f"mac={A}")
    site.done("add host interface compute-0-0 eth1", f"mac={B}", "module=e1000")
    return site


@pytest.fixture
def rpm(one: Site) -> Site:
    """The same host with RPM packages."""
    one.done("set host attr compute-0-0 packaging rpm")
    return one


def cells(table: str) -> list[list[str]]:
    """The cells of each line; empty ones are ''."""
    return [[cell if cell.strip("-") else "" for cell in line.split()] for line in table.splitlines()]


def written(site: Site, folder: Path, *report: str) -> dict[str, str]:
    """Path → text of the files that a report's text becomes, by `rocks report script` and bash."""
    text = site.done(*report)
    script = run_checked(
        ["bin/rocks", "report", "script"], standard_input=text.encode(), deadline_seconds=60
    ).text
    run_checked(["bash", "-n", "-c", script], deadline_seconds=30)
    # the paths are below a folder of the test's own, and another test may run a profile at this moment
    script = script.replace("/etc/", f"{folder}/etc/").replace("/run/rocks-profile", f"{folder}.profile")
    run_checked(["bash", "-c", script], deadline_seconds=30)
    return {
        "/" + str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "RCS" not in path.parts
    }


def ifcfg(site: Site, folder: Path) -> dict[str, dict[str, str]]:
    """Device → the variables of its file, as a shell reads them."""
    found = {}
    for path, text in written(site, folder, "report", "host", "interface", "compute-0-0").items():
        names = [line.partition("=")[0] for line in text.splitlines()]
        show = "; ".join(f'printf "%s\\n" "${name}"' for name in names)
        values = run_checked(["bash", "-euc", f"{text}{show}"], deadline_seconds=30).text.splitlines()
        found[path.removeprefix(f"{_FOLDER}/ifcfg-")] = dict(zip(names, values, strict=True))
    return found


ETH0 = {"DEVICE": "eth0", "HWADDR": A, "IPADDR": "10.1.0.7", "NETMASK": "255.255.0.0"}
ON = {"BOOTPROTO": "none", "ONBOOT": "yes", "MTU": "1500"}


def test_ifcfg_files_of_a_host_with_rpms(rpm: Site, tmp_path: Path) -> None:
    assert ifcfg(rpm, tmp_path) == {
        "eth0": {**ETH0, **ON},
        "eth1": {"DEVICE": "eth1", "HWADDR": B, "BOOTPROTO": "none", "ONBOOT": "no"},
    }


def test_ifcfg_files_of_a_container_have_bridges(rpm: Site, tmp_path: Path) -> None:
    rpm.done("set host attr compute-0-0 kvm true")
    rpm.done("add host interface compute-0-0 vlan7 subnet=private vlan=7")
    rpm.done("add host interface compute-0-0 eth2", f"mac={C}", "subnet=public", "ip=203.0.113.7")
    rpm.done("set host interface options compute-0-0 eth2 'mtu nobridge'")
    bridge = {key: value for key, value in ETH0.items() if key != "HWADDR"}
    assert ifcfg(rpm, tmp_path) == {
        "peth0": {"DEVICE": "peth0", "HWADDR": A, "BRIDGE": "eth0", **ON},
        "eth0": {**bridge, "TYPE": "Bridge", **ON},
        "peth1": {"DEVICE": "peth1", "HWADDR": B, "BOOTPROTO": "none", "ONBOOT": "no"},
        "eth2": {"DEVICE": "eth2", "HWADDR": C, "IPADDR": "203.0.113.7", "NETMASK": "255.255.255.0", **ON},
    }
    assert 'BRIDGE="eth0"\n' in rpm.done("report host interface compute-0-0 iface=eth0")


def test_options_that_leave_a_device_out_or_give_it_dhcp(rpm: Site, tmp_path: Path) -> None:
    rpm.done("set host interface options compute-0-0 eth0 dhcp")
    rpm.done("set host interface options compute-0-0 eth1 noreport")
    assert ifcfg(rpm, tmp_path) == {"eth0": {"DEVICE": "eth0", "HWADDR": A, **ON, "BOOTPROTO": "dhcp"}}
    networkd = rpm.done("report host interface compute-0-0 format=networkd")
    assert "DHCP=ipv4\n" in networkd and "\nAddress=" not in networkd and "eth1" not in networkd


def test_a_vlan_of_a_host_without_machines(rpm: Site, tmp_path: Path) -> None:
    rpm.done("add host interface compute-0-0 vlan7 subnet=private vlan=7 ip=10.1.7.7")
    found = ifcfg(rpm, tmp_path)["eth0.7"]
    assert found == {"DEVICE": "eth0.7", "VLAN": "yes", "IPADDR": "10.1.7.7", "NETMASK": "255.255.0.0", **ON}


@pytest.mark.parametrize("packaging", ["rpm", "deb"])
def test_a_bond_takes_the_address_of_its_members(one: Site, tmp_path: Path, packaging: str) -> None:
    one.done("set host attr compute-0-0 packaging", packaging)
    one.done(
        "add host bonded compute-0-0 channel=bond0 interfaces=eth0,eth1 ip=10.1.0.7 network=private "
        "'options=mode=1 miimon=100'"
    )
    rows = one.done("list host interface output-col=iface,ip,subnet,channel,module output-header=no")
    assert cells(rows) == [
        ["", "eth0", "", "", "bond0"],
        ["", "eth1", "", "e1000", "bond0"],
        ["private", "bond0", "10.1.0.7", "bonding", ""],
    ]
    if packaging == "rpm":
        found = ifcfg(one, tmp_path)
        member = {"MASTER": "bond0", "SLAVE": "yes", "BOOTPROTO": "none", "ONBOOT": "yes"}
        assert found["eth0"] == {"DEVICE": "eth0", "HWADDR": A, **member}
        assert found["bond0"]["BONDING_OPTS"] == "mode=active-backup miimon=100"
        assert found["bond0"]["IPADDR"] == "10.1.0.7"
        return
    files = written(one, tmp_path, "report", "host", "interface", "compute-0-0")
    assert "Bond=bond0\n" in files["/etc/systemd/network/10-eth1.network"]
    assert (
        "[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n" in files["/etc/systemd/network/10-bond0.netdev"]
    )
    assert "Address=10.1.0.7/16\n" in files["/etc/systemd/network/10-bond0.network"]
    keyfiles = one.done("report host interface compute-0-0 format=networkmanager")
    assert "master=bond0\nslave-type=bond\n" in keyfiles and 'perms="600"' in keyfiles


def test_a_host_boots_from_each_adapter_of_its_bond(one: Site) -> None:
    one.done("add host head membership=Frontend rack=0 rank=0")
    one.done("set attr Kickstart_PrivateHostname head")
    one.done("add host interface head lo ip=10.1.0.1 subnet=private")
    one.done("add host bonded compute-0-0 channel=bond0 interfaces=eth0,eth1 ip=10.1.0.7 network=private")
    one.database.commit()
    assert served_hosts(one.database)[0] == [ServedHost("compute-0-0", (A, B), "10.1.0.7")]
    assert sorted(served_hosts(one.database)[1]) == [host_script_name(A), host_script_name(B)]
    assert f'<!ENTITY ksmac "{A}">' in one.done("list host xml compute-0-0")
    one.done("set host interface mac compute-0-0 eth0 NULL")
    one.database.commit()
    assert served_hosts(one.database)[0] == [ServedHost("compute-0-0", (B,), "10.1.0.7")]
    one.done("set host interface mac compute-0-0 eth1 NULL")
    assert unserved_hosts(one.database, ["compute-0-0"]) == ["compute-0-0"]


def test_adapters_do_not_name_a_bond_that_is_removed(one: Site) -> None:
    one.done("add host bonded compute-0-0 channel=bond0 interfaces=eth0,eth1 ip=10.1.0.7 network=private")
    ended = one.rocks("remove host interface compute-0-0 bond%")
    assert (ended.status, ended.err) == (
        0,
        "the bond bond0 of compute-0-0 is gone, and its adapters eth0, eth1 have no address; to give eth0 that of the "
        "bond: rocks set host interface ip compute-0-0 eth0 10.1.0.7, rocks set host interface subnet compute-0-0 eth0 "
        "private\n",
    )
    rows = one.done("list host interface output-col=iface,channel output-header=no")
    assert cells(rows) == [["eth0", ""], ["eth1", ""]]


def test_an_adapter_of_a_bond_gets_no_address(one: Site, tmp_path: Path) -> None:
    """Also not from a dump that is older than the bond."""
    one.done("add host bonded compute-0-0 channel=bond0 interfaces=eth0,eth1 ip=10.1.0.7 network=private")
    (tmp_path / "dump").write_text("rocks set host interface ip compute-0-0 eth0 10.1.0.9\n")
    one.done("set attr Kickstart_PrivateHostname compute-0-0")
    loaded = one.rocks("load dump", str(tmp_path / "dump"))
    assert loaded.status == 3 and "eth0 is an adapter of bond0" in loaded.out
    refused = one.refused("set host interface ip compute-0-0 eth1 10.1.0.9")
    assert "rocks set host interface ip compute-0-0 bond0 10.1.0.9" in refused
    one.done("set host interface ip compute-0-0 eth0 NULL")
    one.done("set host interface ip compute-0-0 bond0 10.1.0.9")


def test_an_invalid_bond_changes_nothing(one: Site) -> None:
    one.done("add host interface compute-0-0 vlan7 vlan=7")
    for arguments, message in [
        (["channel=bond0", "interfaces=eth0", "ip=10.1.0.9"], "must supply network="),
        (["channel=bond0", "interfaces=eth9", "ip=10.1.0.9", "network=private"], 'has no interface "eth9"'),
        (["channel=bond0", "interfaces=eth0,eth0", "ip=10.1.0.9", "network=private"], "given twice"),
        (
            ["channel=bond0", "interfaces=vlan7", "ip=10.1.0.9", "network=private"],
            "cannot be a member of bond0",
        ),
        (["channel=eth0", "interfaces=eth0", "ip=10.1.0.9", "network=private"], "cannot be a member of eth0"),
        (["channel=bond0", "interfaces=eth0", "ip=10.2.0.9", "network=private"], "is not in the network"),
        (["channel=bond0", "interfaces=eth0", "ip=10.1.0.9", "network=nowhere"], "unknown network"),
        (
            ["channel=bond0", "interfaces=eth0", "ip=10.1.0.9", "network=private", "options=mode=fast"],
            "has the mode fast, which is none of",
        ),
        (
            ["channel=bond0", "interfaces=eth0", "ip=10.1.0.9", "network=private", "options=$(reboot)"],
            "which is not valid",
        ),
    ]:
        assert message in one.refused("add host bonded compute-0-0", *arguments), arguments


def test_names_and_gateway_of_hosts(rpm: Site, tmp_path: Path) -> None:
    rpm.done("add route 0.0.0.0 10.1.1.1 netmask=0.0.0.0")
    assert written(rpm, tmp_path, "report", "host", "network", "compute-0-0") == {
        "/etc/hostname": "compute-0-0.local\n",
        "/etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=compute-0-0.local\nGATEWAY=10.1.1.1\nGATEWAYDEV=eth0\n",
    }
    rpm.done("set host attr compute-0-0 packaging deb")
    assert rpm.done("report host network compute-0-0") == (
        '<file name="/etc/hostname">\ncompute-0-0\n</file>\n'
    )
    rpm.done("add host compute-0-1")
    assert "compute-0-1: compute-0-1\n" in rpm.done("report host network")


_STATIC_ROUTES = """\
ip link add eth0 type veth peer name far
ip link set eth0 up
ip link set far up
ip address add 10.1.0.7/16 dev eth0
grep ^any "$1" | while read -r _ arguments; do route add -${arguments%% *} ${arguments#* }; done
ip -4 route
"""


def test_static_routes_are_set_as_the_initscripts_set_them(rpm: Site, tmp_path: Path) -> None:
    if shutil.which("route") is None:
        pytest.skip("this machine has no program route")
    rpm.done("add route 0.0.0.0 10.1.1.1 netmask=0.0.0.0")
    rpm.done("add route 10.2.0.0 10.1.1.2 netmask=255.255.0.0")
    rpm.done("add os route linux 224.0.0.0 private netmask=255.255.255.0")
    rpm.done("add host route compute-0-0 198.51.100.7 private")
    rpm.done("add host route compute-0-0 198.51.100.8 10.1.0.7")
    rpm.done("add host route compute-0-0 198.51.100.9 public")
    files = written(rpm, tmp_path, "report", "host", "route", "compute-0-0")
    assert files == {
        "/etc/sysconfig/static-routes": "any net 10.2.0.0 netmask 255.255.0.0 gw 10.1.1.2\n"
        "any host 198.51.100.7 dev eth0\nany net 224.0.0.0 netmask 255.255.255.0 dev eth0\n"
    }
    place = tmp_path / "etc/sysconfig/static-routes"
    routes = run_checked(
        ["unshare", "--net", "bash", "-euc", _STATIC_ROUTES, "bash", str(place)], deadline_seconds=30
    ).text
    assert [line.split(" scope")[0].strip() for line in routes.splitlines()] == [
        "10.1.0.0/16 dev eth0 proto kernel",
        "10.2.0.0/16 via 10.1.1.2 dev eth0",
        "198.51.100.7 dev eth0",
        "224.0.0.0/24 dev eth0",
    ]


def test_routes_of_a_debian_host_are_parts_of_its_devices_files(one: Site, tmp_path: Path) -> None:
    one.done("add host route compute-0-0 10.2.0.0 10.1.1.2 netmask=255.255.0.0")
    assert written(one, tmp_path, "report", "host", "route", "compute-0-0") == {
        "/etc/systemd/network/10-eth0.network.d/routes.conf": f"{MARK}\n[Route]\nDestination=10.2.0.0/16\n"
        "Gateway=10.1.1.2\n"
    }


@pytest.mark.parametrize("report", ["interface", "network", "route"])
def test_without_names_each_host_has_what_it_has_by_its_name(rpm: Site, report: str) -> None:
    """Also hosts without interfaces, and with routes of their own."""
    rpm.done("add host compute-0-1")
    rpm.done("add host interface compute-0-1 eth0", f"mac={C}", "ip=10.1.0.8", "subnet=private")
    rpm.done("add host route compute-0-1 10.2.0.0 10.1.1.2 netmask=255.255.0.0")
    rpm.done("add route 0.0.0.0 10.1.1.1 netmask=0.0.0.0")
    rpm.done("add host compute-0-2")
    names = [row[0] for row in rpm.database.rows("SELECT Name FROM nodes ORDER BY ID")]
    everything = rpm.done(f"report host {report}")
    assert len(names) == 3 and everything == rpm.done(f"report host {report} {' '.join(names)}")
    assert "compute-0-0: " in everything and "compute-0-1: " in everything


def test_one_host_with_an_invalid_record_does_not_hide_the_others(one: Site) -> None:
    one.done("add host compute-0-1")
    one.done("add host interface compute-0-1 eth0", f"mac={C}", "ip=10.1.0.8", "subnet=private")
    one.change("UPDATE networks SET Device = 'eth 0<&' WHERE IP = '10.1.0.8'")
    ended = one.rocks("report host interface")
    assert ended.status == 0 and "10-eth0.network" in ended.out
    assert ended.err.startswith("eth 0<& (10.1.0.8) of host compute-0-1 is not set up: the device ")
    assert "rocks set host interface iface" in ended.err
    assert one.rocks("report host interface format=x").err.startswith('Error: format "x" must be one of')


def test_swapped_interfaces_exchange_their_adapters(one: Site) -> None:
    one.done("set host interface options compute-0-0 eth1 novtap")
    one.rocks("swap host interface compute-0-0 ifaces=eth0,eth1")
    columns = ("list", "host", "interface", "compute-0-0", "output-col=iface,mac,ip,module,options")
    rows = cells(one.done(*columns, "output-header=no"))
    assert rows == [["eth1", B, "10.1.0.7", "e1000", "novtap"], ["eth0", A, "", "", ""]]
    before = one.contents()
    one.rocks("swap host interface compute-0-0", f"ifaces={A},eth1", "sync-config=no")
    one.rocks("swap host interface compute-0-0 ifaces=eth0,eth1 sync-config=no")
    assert one.contents() == before
    assert "the same interface" in one.refused("swap host interface compute-0-0", f"ifaces=eth0,{A}")
    one.done("add host interface compute-0-0 vlan7 vlan=7")
    assert "is a VLAN device" in one.refused("swap host interface compute-0-0 ifaces=eth0,vlan7")
    assert "must supply two" in one.refused("swap host interface compute-0-0 ifaces=eth0")
    assert 'no interface "eth7"' in one.refused("swap host interface compute-0-0 ifaces=eth0,eth7")


def configured(site: Site, *parameters: str) -> list[list[str]]:
    """Rows of device, MAC address and address after `config host interface`."""
    ended = site.rocks("config host interface compute-0-0", *parameters)
    assert ended.status == 0, ended
    columns = "output-col=subnet,iface,mac,ip,module"
    out = site.done("list host interface compute-0-0", columns, "output-header=no")
    return cells(out)


def test_the_private_address_ends_on_the_adapter_that_was_booted_from(one: Site) -> None:
    rows = configured(one, "iface=eth0,eth1", f"mac={A},{B}", "flag=,ks")
    assert rows == [["private", "eth1", B, "10.1.0.7", "e1000"], ["", "eth0", A, "", ""]]


def test_hardware_that_is_known_by_other_names_is_renamed(one: Site) -> None:
    rows = configured(one, "iface=eth0,eth1", f"mac={B.upper()},{A}", "module=,igb")
    assert rows == [["private", "eth1", A, "10.1.0.7", "igb"], ["", "eth0", B.upper(), "", "e1000"]]
    assert configured(one, "iface=eth0", f"mac={B.upper()}") == rows, "nothing new, nothing changed"


def test_new_adapters_are_added_or_replace_those_of_their_device(one: Site) -> None:
    rows = configured(one, "iface=eth1,eth2", f"mac={C},52:54:00:00:00:0d", "module=igb,igb")
    assert rows == [
        ["private", "eth0", A, "10.1.0.7", ""],
        ["", "eth1", C, "", "igb"],
        ["", "eth2", "52:54:00:00:00:0d", "", "igb"],
    ]


def test_a_new_adapter_that_was_booted_from_gets_the_private_address(one: Site) -> None:
    rows = configured(one, "iface=eth2", f"mac={C}", "flag=ks")
    assert rows == [
        ["private", "eth2", C, "10.1.0.7", ""],
        ["", "eth1", B, "", "e1000"],
        ["", "eth0", A, "", ""],
    ]


def test_an_invalid_configuration_changes_nothing(one: Site) -> None:
    one.done("add host compute-0-1")
    one.done("add host interface compute-0-1 eth0", f"mac={C}")
    for parameters, message in [
        ([], "iface has 0 devices"),
        (["iface=eth0,eth1", f"mac={A}"], "iface has 2 devices and mac 1 addresses"),
        (["iface=eth0,eth0", f"mac={A},{B}"], "the device eth0 is given twice"),
        (["iface=eth0,eth1", f"mac={A},{A.upper()}"], "is given twice"),
        (["iface=vlan7", f"mac={A}"], "is the name of a VLAN's entry"),
        (["iface=eth0", "mac=zz"], "The mac address zz is invalid"),
        (["iface=eth 0", f"mac={A}"], 'interface "eth 0" is not valid'),
        (["iface=eth0", f"mac={A}", "flag=ks,ks"], "more values"),
        (["iface=eth0,eth1", f"mac={A},{B}", "flag=ks,ks"], "given to several devices"),
        (["iface=eth0", f"mac={C}"], "is in use by host compute-0-1"),
    ]:
        assert message in one.refused("config host interface compute-0-0", *parameters), parameters


def test_a_host_that_is_removed_meanwhile_is_not_reported(one: Site) -> None:
    """Between two statements of a report, and between the reading of a profile's hosts and that of their firewalls."""
    load = host_network_records.load_hosts

    def removing(database: Database, names: list[str] | None) -> list[Host]:
        found = load(database, names)
        one.change("DELETE FROM nodes WHERE Name = 'compute-0-1'")
        return found

    one.patch.setattr(host_network_records, "load_hosts", removing)
    for report in ("route", "interface", "network"):
        expected = one.done(f"report host {report}")
        one.done("add host compute-0-1")
        assert one.done(f"report host {report}") == expected, report
    assert set(firewall_texts(one.database, ["compute-0-1", "compute-0-0"])) == {"compute-0-0"}


@pytest.mark.parametrize("packaging", ["deb", "rpm"])
def test_an_interface_without_a_file_is_named_everywhere_and_hides_no_other(
    one: Site, packaging: str
) -> None:
    one.done("set host attr compute-0-0 packaging", packaging)
    one.done("add host interface compute-0-0 eth8 ip=10.99.0.1", f"mac={C}")
    one.done("add host interface compute-0-0 ib0 ip=10.1.8.8 subnet=private", f"mac={':'.join(['80'] * 20)}")
    lost = "eth8 (10.99.0.1) of host compute-0-0 is not set up: it is on no network: rocks set host interface subnet"
    infiniband = "ib0 (10.1.8.8) of host compute-0-0 is not set up: its MAC address is that of an InfiniBand adapter; a"
    for style in ("networkd", "networkmanager", "ifcfg"):
        ended = one.rocks("report host interface compute-0-0", f"format={style}")
        assert ended.status == 0 and lost in ended.err and A in ended.out.lower()
        assert (infiniband in ended.err) == (style != "ifcfg")
    profile = one.done("report host profile compute-0-0")
    assert (
        f"rocks_warn '{lost}" in profile
        and f"rocks_warn '{infiniband}" in profile
        and "10-eth0.link" in profile
    )
    removal = next(
        line for line in profile.splitlines() if line.lstrip().startswith("rocks_marked_files_absent '")
    )
    assert "10-eth8.network" in removal, "a file that the host has stays until its record is valid"
    one.done("add host head membership=Frontend rack=0 rank=0")
    one.done("set attr Kickstart_PrivateHostname head")
    found = [(check.subject, check.result, check.detail) for check in check_site(one.database, ["networks"])]
    assert [row[:2] for row in found] == [("network compute-0-0", WRONG)] * 2
    assert found[0][2].startswith(lost) and found[1][2].startswith(infiniband)
    assert f"compute-0-0: would warn: {lost}" in one.done("sync host network compute-0-0 dry-run=yes")
    one.done("set host interface subnet compute-0-0 eth8 NULL")
    one.done("set host interface options compute-0-0 ib0 options=noreport")
    assert infiniband not in one.rocks("report host interface compute-0-0 format=networkd").err
