"""Appliances, memberships, distributions."""

import pytest

from tests.system.commands.conftest import Site


def attributes_of(site: Site, appliance: str) -> dict[str, str]:
    """The attributes of an appliance."""
    lines = site.done("list appliance attr", appliance, "output-header=no").splitlines()
    return {line.split()[1]: line.split()[2] for line in lines}


def test_list_appliance(site: Site) -> None:
    assert site.done("list appliance") == (
        "APPLIANCE     GRAPH   NODE   \n"
        "frontend:     default server \n"
        "compute:      default compute\n"
        "login:        default login  \n"
        "nas:          default nas    \n"
        "network:      default -------\n"
        "power:        default -------\n"
        "vm-container: default client \n"
        "hosted-vm:    default -------\n"
    )
    assert site.done("list appliance COMPUTE") == "GRAPH   NODE   \ndefault compute\n"


def test_an_unknown_appliance_is_an_error(site: Site) -> None:
    for arguments in (("list", "appliance"), ("dump", "appliance", "attr"), ("remove", "appliance")):
        assert site.refused(*arguments, "nothing") == (
            'unknown appliance "nothing"; rocks list appliance lists the known ones'
        )


def test_list_membership(site: Site) -> None:
    assert site.done("list membership") == (
        "MEMBERSHIP               APPLIANCE    DISTRIBUTION PUBLIC\n"
        "Frontend:                frontend     rocks-dist   no    \n"
        "Compute:                 compute      rocks-dist   yes   \n"
        "Login:                   login        rocks-dist   yes   \n"
        "NAS Appliance:           nas          rocks-dist   yes   \n"
        "Ethernet Switch:         network      rocks-dist   yes   \n"
        "Power Distribution Unit: power        rocks-dist   yes   \n"
        "VM Container:            vm-container rocks-dist   yes   \n"
        "Hosted VM:               hosted-vm    rocks-dist   no    \n"
    )
    assert site.done("list membership 'hosted vm'") == (
        "APPLIANCE DISTRIBUTION PUBLIC\nhosted-vm rocks-dist   no    \n"
    )
    assert site.refused("list membership nothing").startswith('unknown membership "nothing"')


def test_a_distribution_is_added_listed_and_removed(site: Site) -> None:
    site.done("add distribution testing")
    assert site.done("list distribution") == "NAME       \nrocks-dist:\ntesting:   \n"
    assert 'distribution "Testing" already exists' in site.refused("add distribution Testing")
    assert "is not valid" in site.refused("add distribution ../x")
    assert "the folder of that name has the rolls" in site.refused("add distribution rolls")
    site.done("remove distribution testing")
    assert "cannot remove" in site.refused("remove distribution rocks-dist")
    assert site.refused("list distribution nothing").startswith('unknown distribution "nothing"')


def test_add_appliance_without_a_node_file(site: Site) -> None:
    site.done("add appliance tile-wall")
    assert site.done("list appliance tile-wall output-header=no") == "----- ----\n"
    assert site.done("list membership Tile-wall output-header=no") == "tile-wall rocks-dist   yes   \n"
    assert attributes_of(site, "tile-wall") == {"kickstartable": "no"}


def test_add_appliance_that_can_be_installed(site: Site) -> None:
    site.done("add attr Kickstart_PrivateKickstartHost 10.1.1.1")
    site.done("add appliance tile 'membership=Viz Tile' node=viz graph=default public=n os=sunos")
    assert site.done("list appliance tile output-header=no") == "default viz \n"
    assert site.done("list membership 'Viz Tile' output-header=no") == "tile      rocks-dist   no    \n"
    assert attributes_of(site, "tile") == {
        "dhcp_filename": "pxelinux.0",
        "dhcp_nextserver": "10.1.1.1",
        "kickstartable": "yes",
    }
    site.done("add host t0 'membership=viz tile' rack=0 rank=0")
    assert "t0: viz_size" not in site.done("list host attr t0")


def test_add_appliance_errors(site: Site) -> None:
    site.done("add host host-0 membership=compute rack=0 rank=0")
    site.done("add host alias host-0 wall")
    for arguments, message in [
        ((), "must supply one appliance"),
        (("COMPUTE", "membership=Other"), 'appliance "COMPUTE" already exists'),
        (("compute",), 'membership "Compute" already exists'),
        (("tile", "membership=vm container"), 'membership "vm container" already exists'),
        (("host-0",), 'appliance "host-0" cannot be added: a host has that name'),
        (("WALL",), 'appliance "WALL" cannot be added: a host has that alias'),
        (("a b",), 'appliance "a b" is not valid'),
        (("tile", "membership=a;b"), 'membership "a;b" is not valid'),
        (("tile", "node=../../etc/passwd"), 'node "../../etc/passwd" is not valid'),
        (("tile", "graph=a/b"), 'graph "a/b" is not valid'),
        (("tile", "os=beos"), 'unknown os "beos"'),
        (("tile", "os=%"), '"os" must be linux or sunos'),
        (("tile", "distribution=none"), 'unknown distribution "none"'),
    ]:
        assert site.refused("add appliance", *arguments).startswith(message), arguments


def test_remove_appliance_removes_what_belongs_to_it(site: Site) -> None:
    before = site.contents()
    site.done("add appliance tile node=viz")
    site.done("add appliance attr tile viz_size 4")
    site.change(
        "INSERT INTO appliance_routes (Appliance, Network, Netmask, Gateway)"
        " SELECT ID, '1.2.3.4', '255.255.255.255', '10.1.1.1' FROM appliances WHERE Name = 'tile'"
    )
    site.done("remove appliance tile")
    assert site.contents() == before


def test_a_used_appliance_is_not_removed_and_neither_are_the_others(site: Site) -> None:
    site.done("add host compute-0-0")
    assert site.refused("remove appliance nas compute") == (
        'cannot remove appliance "compute": host compute-0-0 is one; '
        "remove its hosts or give them another membership first"
    )


def test_dump_appliance(site: Site) -> None:
    site.done("add appliance tile 'membership=Viz Tile' node=viz public=no")
    assert site.done("dump appliance tile") == (
        "/opt/rocks/bin/rocks add appliance tile membership=Viz\\ Tile node=viz public=no os=linux"
        " distribution=rocks-dist\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "membership", "root", "managed"),
    [
        ("frontend-0-0", "Frontend", "server", "false"),
        ("compute-0-0", "Compute", "compute", "true"),
        ("login-0-0", "Login", "login", None),
        ("nas-0-0", "NAS Appliance", "nas", "true"),
        ("vm-container-0-0", "VM Container", "client", "true"),
    ],
)
def test_hosts_of_the_appliances_of_rocks_can_be_added_to_a_new_database(
    site: Site, host: str, membership: str, root: str, managed: str | None
) -> None:
    """From the first `update database` on, with the root nodes and attributes."""
    site.done("add host", host)
    assert site.done("list host membership", host, "output-header=no").strip() == membership
    appliance = site.done("list host appliance", host, "output-header=no").strip()
    assert site.done("list appliance", appliance, "output-header=no").split() == ["default", root]
    attributes = attributes_of(site, appliance)
    assert attributes.get("managed") == managed
    assert attributes["kickstartable"] == "yes" and attributes["dhcp_filename"] == "pxelinux.0"
    if host != "frontend-0-0":
        site.done("add host head membership=frontend rack=0 rank=1")
        site.done("add host interface head eth0 ip=10.1.0.1 subnet=private")
        site.done("set attr Kickstart_PrivateHostname head")
        site.done("add host interface", host, "eth0", "ip=10.1.0.50", "subnet=private")
        assert "rocks_profile" in site.done("report host profile", host)
