"""Reports about virtual machines: the libvirt document with its hooks, the kind, the next MAC."""

from pathlib import Path

import pytest
from lxml import etree

from tests.command_trees import write_plugin
from tests.system.commands.conftest import Site

CONFIG = ("report", "host", "vm", "config", "adapted=no")


@pytest.fixture
def machines(vm_site: Site) -> Site:
    """The cluster blue with one compute on vmc-0-0, and web, a compute of the site, on vmc-0-1."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=blue cluster-naming=yes container-hosts=vmc-0-0")
    vm_site.done("add host vm vmc-0-1 compute name=web")
    return vm_site


def document(site: Site, name: str) -> etree._Element:
    """What `report host vm config` prints, parsed."""
    return etree.fromstring(site.done(*CONFIG, name))


def attribute(site: Site, name: str, path: str, key: str) -> list[str | None]:
    """An attribute of all elements at a path of the document."""
    return [element.get(key) for element in document(site, name).findall(path)]


def test_a_machine_on_a_bridge_and_one_on_a_vlan(machines: Site) -> None:
    interface, model = "devices/interface", "devices/interface/model"
    assert attribute(machines, "web", interface, "type") == ["bridge"]
    assert attribute(machines, "web", f"{interface}/source", "bridge") == ["eth0"]
    assert attribute(machines, "vm-blue-0", interface, "type") == ["direct"]
    assert attribute(machines, "vm-blue-0", f"{interface}/source", "dev") == ["peth0.2"]
    assert attribute(machines, "blue", interface, "type") == ["direct", "bridge"]
    assert attribute(machines, "blue", model, "type") == ["virtio", "virtio"]
    assert attribute(machines, "web", "cpu", "mode") == ["host-passthrough"]


def test_a_new_frontend_is_installed(machines: Site) -> None:
    found = document(machines, "blue")
    assert found.findtext("os/kernel") == "/boot/kickstart/default/vmlinuz"
    assert found.findtext("os/cmdline") == (
        "ksdevice=76:77:6e:80:00:01 build airboss=localhost ip=203.0.113.9  netmask=255.255.255.0 "
        " dns=198.51.100.7  gateway=203.0.113.1 "
    )
    assert found.findtext("on_reboot") == "destroy"
    assert found.findall("os/boot") == []


@pytest.mark.parametrize(
    "texts",
    [
        ("set", "host", "boot", "blue", "action=os"),
        ("set", "host", "installaction", "blue", "install"),
        ("set", "host", "installaction", "blue", "none"),
    ],
    ids=" ".join,
)
def test_only_both_actions_together_install_a_frontend(machines: Site, texts: tuple[str, ...]) -> None:
    machines.done(*texts)
    assert attribute(machines, "blue", "os/boot", "dev") == ["network", "hd"]
    assert document(machines, "blue").find("os/kernel") is None


def test_an_interface_without_a_network_does_not_break_the_installation(machines: Site) -> None:
    machines.change("UPDATE networks SET Subnet = NULL, IP = NULL WHERE MAC LIKE '76:%'")
    arguments = "ksdevice=eth1 build airboss=localhost dns=198.51.100.7  gateway=203.0.113.1 "
    assert document(machines, "blue").findtext("os/cmdline") == arguments


@pytest.mark.parametrize(
    ("table", "columns", "values"),
    [
        ("appliance_routes", "Appliance", "SELECT Appliance FROM memberships WHERE Name = 'Frontend'"),
        ("os_routes", "OS", "SELECT 'linux'"),
        ("global_routes", "", ""),
    ],
)
def test_the_gateway_is_the_resolved_default_route(
    machines: Site, table: str, columns: str, values: str
) -> None:
    machines.change(
        f"INSERT INTO {table} ({columns}{',' if columns else ''} Network, Netmask, Gateway) VALUES"
        f" ({f'({values}),' if values else ''} '0.0.0.0', '0.0.0.0', '203.0.113.77')"
    )
    assert "gateway=203.0.113.1 " in str(document(machines, "blue").findtext("os/cmdline"))
    machines.change("DELETE FROM node_routes")
    assert "gateway=203.0.113.77 " in str(document(machines, "blue").findtext("os/cmdline"))


def test_the_installers_boot_action_must_exist(machines: Site) -> None:
    machines.change("DELETE FROM bootaction WHERE Action = 'install vm frontend'")
    assert 'there is no boot action "install vm frontend"' in machines.refused(*CONFIG, "blue")
    assert "<domain" in machines.done(*CONFIG, "web")


def test_a_machine_without_a_boot_row_is_refused(machines: Site) -> None:
    machines.change("DELETE FROM boot")
    assert "Host web doesn't have a boot action" in machines.refused(*CONFIG, "web")
    machines.done("set host boot web action=os")
    assert "<domain" in machines.done(*CONFIG, "web")


def test_several_documents_have_names_in_front_and_other_hosts_are_left_out(machines: Site) -> None:
    one, other = machines.done(*CONFIG, "vm-blue-0"), machines.done(*CONFIG, "web")
    assert machines.done(*CONFIG, "web", "head", "vm-blue-0") == f"vm-blue-0: {one}web: {other}"
    assert machines.done(*CONFIG, "web", "head") == other
    assert machines.done(*CONFIG, "head") == machines.done(*CONFIG, "nothing%") == ""


def test_wrong_xml_is_reported_as_it_is(machines: Site) -> None:
    """The start checks the document; the report prints it with its errors."""
    machines.done("set host attr web kvm_device_0 value=<a></b>")
    assert "<a></b>\n" in machines.done(*CONFIG, "web")


def test_a_machine_without_a_container_has_no_interfaces(machines: Site) -> None:
    machines.change("UPDATE vm_nodes SET PhysNode = NULL")
    assert document(machines, "web").findall("devices/interface") == []


def test_a_disabled_interface_is_left_out(machines: Site) -> None:
    machines.change("UPDATE networks SET Disable_KVM = 1 WHERE Device = 'eth1'")
    assert attribute(machines, "blue", "devices/interface", "type") == ["direct"]


def test_a_silent_host_is_named_and_the_document_is_that_of_the_database(machines: Site) -> None:
    recorded = machines.done(*CONFIG, "web", "vm-blue-0")
    ended = machines.rocks(*CONFIG[:-1], "web", "vm-blue-0")
    assert (ended.status, ended.out) == (0, recorded)
    first, second = ended.err.splitlines()
    for line, host in ((first, "vmc-0-0"), (second, "vmc-0-1")):
        assert line.startswith(
            "Warning: the XML is the one in the database, for KVM and with Debian's emulator, for machines on "
            f"{host}, which cannot be asked: "
        )


# hooks of other rolls


def write_filter(tree: Path, name: str, run: str) -> None:
    """Drop a filter's file, and nothing else, into the folder of `report host vm config`."""
    folder = tree / "report" / "host" / "vm" / "config"
    folder.mkdir(parents=True, exist_ok=True)
    body = "".join(f"        {line}\n" for line in run.splitlines())
    (folder / f"plugin_{name}.py").write_text(
        "import rocks.commands\n\n\nclass Plugin(rocks.commands.Plugin):\n"
        f"    def run(self, node, xml):\n{body}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("bootloader", "<os>", "</os>"),
        ("cpumem", "<memory>2097152</memory>", "</features>"),
        ("interface", "<interface type='bridge'>", "</interface>"),
        ("disk", "<disk type='file' device='disk'>", "</disk>"),
        ("device", "<devices>", "</devices>"),
        ("global", "<domain type='kvm'>", "</domain>"),
    ],
)
def test_each_of_the_six_blocks_can_be_changed(
    machines: Site, tree: Path, name: str, first: str, last: str
) -> None:
    before = machines.done(*CONFIG, "web").splitlines()
    write_filter(
        tree, f"{name}_of_a_roll", f"return ['<!-- {name} of ' + node.name + ' -->', *xml, '<!-- end -->']"
    )
    after = machines.done(*CONFIG, "web").splitlines()
    begin, end = after.index(f"<!-- {name} of web -->"), after.index("<!-- end -->")
    assert (after[begin + 1].strip(), after[end - 1].strip()) == (first, last)
    assert after[:begin] + after[begin + 1 : end] + after[end + 1 :] == before


def test_a_filter_knows_the_machine(machines: Site, tree: Path) -> None:
    write_filter(
        tree,
        "global",
        "defs = node.vm_defs\n"
        "return [repr((node.name, node.cpus, node.boot, node.installaction, len(node.networks), defs.mem,\n"
        "              defs.physNode, defs.cdrom_path, [disk.path for disk in defs.disks]))]",
    )
    path = "/state/partition1/kvm/disks/blue.vda"
    marker = ("blue", 1, "install", "install vm frontend", 2, 2048, "head", "", [path])
    assert machines.done(*CONFIG, "blue") == f"{marker!r}\n"


def test_only_the_first_filter_of_a_block_counts(machines: Site, tree: Path) -> None:
    write_filter(tree, "disk_a", "return ['<first/>']")
    write_filter(tree, "disk_b", "return ['<second/>']")
    printed = machines.done(*CONFIG, "web")
    assert "<first/>" in printed and "<second/>" not in printed


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("return None", 'the plugin "disk" of report host vm config returned no list of lines, but NoneType'),
        ("return 'text'", "returned no list of lines, but str"),
        ("return [1]", "returned no list of lines, but list"),
        ("1 / 0", 'the plugin "disk" of "report host vm config" has a fault (ZeroDivisionError'),
        ("from rocks.core.errors import StateError\nraise StateError('not ' + node.name)", "not web"),
    ],
)
def test_a_filter_with_a_fault_is_named(machines: Site, tree: Path, run: str, message: str) -> None:
    write_filter(tree, "disk", run)
    assert message in machines.refused(*CONFIG, "web")


# report host vm virt_type, report vm nextmac


def test_the_kind_of_machines(machines: Site) -> None:
    machines.change(
        "UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node SET v.Virt_Type = NULL WHERE n.Name = 'web'"
    )
    assert machines.done("report host vm virt_type web") == "para\n"
    assert machines.done("report host vm virt_type blue web") == "blue: hvm\nweb: para\n"
    assert machines.done("report host vm virt_type head") == ""
    assert machines.done("report host vm virt_type nothing%") == ""


def test_the_next_mac_is_printed_and_not_reserved(machines: Site) -> None:
    assert machines.done("report vm nextmac") == "76:77:6e:80:00:04\n"
    assert machines.done("report vm nextmac") == "76:77:6e:80:00:04\n"
    machines.done("add host interface head eth5 mac=76:77:6E:80:01:FF")
    assert machines.done("report vm nextmac") == "76:77:6e:80:02:00\n"
    machines.change("UPDATE networks SET MAC = '76:77:6e:bf:ff:ff' WHERE Device = 'eth5'")
    assert machines.done("report vm nextmac") == "76:77:6e:80:00:04\n"
    machines.done("add host vm vmc-0-0 compute name=next")
    assert machines.done("report vm nextmac") == "76:77:6e:80:00:05\n"
    assert machines.rocks("report vm nextmac").statements <= 4
    machines.done("set attr vm_mac_base_addr 2:71:0:0:00:00")
    assert machines.done("report vm nextmac") == "02:71:00:00:00:00\n"


def test_a_plugin_that_nothing_calls_is_warned_of(machines: Site, tree: Path) -> None:
    folder = tree / "report" / "host" / "vm" / "config"
    folder.mkdir(parents=True)
    write_plugin(folder, "disc_cache")
    ended = machines.rocks(*CONFIG, "web")
    assert ended.status == 0
    assert ended.err.startswith(
        "Warning: nothing calls plugin_disc_cache.py of report host vm config: the name of a plugin there begins with "
    )
    assert "plugin_disk" in ended.err
