"""Hosts: added, listed, changed, dumped, removed."""

import json

from tests.system.commands.conftest import Site


def test_list_host_is_the_table_of_the_specification(three: Site) -> None:
    assert three.done("list host") == (
        "HOST         MEMBERSHIP CPUS RACK RANK RUNACTION INSTALLACTION\n"
        "head:        Frontend   4    0    0    os        install      \n"
        "compute-0-0: Compute    1    0    0    os        install      \n"
        "compute-0-1: Compute    2    0    1    os        install      \n"
    )


def test_list_host_appliance_and_membership(three: Site) -> None:
    assert three.done("list host appliance") == (
        "HOST         APPLIANCE\nhead:        frontend \ncompute-0-0: compute  \ncompute-0-1: compute  \n"
    )
    assert three.done("list host membership head") == "MEMBERSHIP\nFrontend  \n"


def test_the_name_supplies_membership_rack_and_rank(site: Site) -> None:
    site.done("add host vm-container-3-14")
    site.done("add host compute-1-2 rank=7 'membership=nas appliance'")
    assert site.database.rows(
        "SELECT n.Name, m.Name, Rack, Rank FROM nodes n JOIN memberships m ON m.ID = Membership"
    ) == [("vm-container-3-14", "VM Container", 3, 14), ("compute-1-2", "NAS Appliance", 1, 7)]


def test_a_new_host_has_the_attribute_os_and_neither_interface_nor_boot(site: Site) -> None:
    site.done("add host compute-0-0 os=sunos")
    rows = site.database.rows(
        "SELECT Category, Catindex, Attr, Value FROM vattributes WHERE Category = 'host'"
    )
    assert rows == [("host", "compute-0-0", "os", "sunos")]
    assert site.database.rows("SELECT ID FROM networks UNION SELECT ID FROM boot") == []


def test_add_host_refuses(three: Site) -> None:
    three.done("add host alias head front")
    for arguments, message in (
        (
            ["Compute", "membership=compute", "rack=0", "rank=0"],
            "Hostname Compute can not be equal to an appliance name.",
        ),
        (["HEAD", "membership=compute", "rack=0", "rank=0"], "Node HEAD already exists."),
        (["front", "membership=compute", "rack=0", "rank=0"], "Node front already exists"),
        (["new", "membership=cook", "rack=1", "rank=1"], "Membership cook is not valid."),
        ([], "must supply one host"),
    ):
        assert message in three.refused("add host", *arguments), arguments


def test_the_longest_name_is_stored(site: Site) -> None:
    name = "a" * 63
    site.done("add host", name, "membership=compute", "rack=0", "rank=0")
    assert f"{name}" in site.done("list host json=yes")


def test_a_host_may_be_called_like_a_command(site: Site) -> None:
    site.done("'add host' interface membership=compute rack=0 rank=0")
    assert site.done("'list host' interface output-col=cpus") == "CPUS\n1   \n"


def test_set_host_columns(three: Site) -> None:
    three.done("set host cpus compute 8")
    three.done("set host rack compute-0-0 rack=5")
    three.done("set host rank compute-0-0 compute-0-1 6")
    three.done("set host membership compute-0-1 'vm container'")
    assert three.done("list host compute vm-container") == (
        "HOST         MEMBERSHIP   CPUS RACK RANK RUNACTION INSTALLACTION\n"
        "compute-0-0: Compute      8    5    6    os        install      \n"
        "compute-0-1: VM Container 8    0    6    os        install      \n"
    )


def test_the_frontend_of_the_site_stays_one(vm_site: Site) -> None:
    before = vm_site.contents()
    for names in ("head", "vmc-0-0 head"):
        refusal = vm_site.refused(f"set host membership {names} Compute")
        assert "head is the frontend of the site, and stays one: name the other hosts" in refusal
    vm_site.done("set host membership head Frontend")
    assert vm_site.contents() == before


def test_set_host_refuses(three: Site) -> None:
    for arguments, message in (
        (["cpus", "compute-0-0", "0"], 'cpus "0" must be an integer from 1 to 4096'),
        (["cpus", "compute-0-0", "4097"], 'cpus "4097" must be an integer from 1 to 4096'),
        (["cpus", "compute-0-0"], 'must supply at least one host, besides cpus "compute-0-0"'),
        (["cpus"], "must supply cpus"),
        (["rack", "compute-0-0", "-1"], 'rack "-1" must be'),
        (["rank", "compute-0-0", "1e3"], 'rank "1e3" must be'),
        (["membership", "compute-0-0", "cook"], "Membership cook is not valid."),
        (["name", "compute-0-0", "HEAD"], "Node HEAD already exists."),
        (["name", "compute-0-0", "login"], "can not be equal to an appliance name."),
        (["name", "compute", "new"], "must supply only one host"),
        (["name", "new"], "must supply one host"),
        (["name"], "must supply name"),
    ):
        assert message in three.refused("set host", *arguments), arguments


def test_a_renamed_host_retains_attributes_and_interfaces(three: Site) -> None:
    three.done("add host interface compute-0-0 eth0 ip=10.1.0.1 subnet=private")
    three.done("set host name compute-0-0 node1")
    assert three.database.rows(
        "SELECT Catindex, Attr FROM vattributes WHERE Category = 'host' ORDER BY 1"
    ) == [("compute-0-1", "os"), ("head", "os"), ("node1", "os")]
    assert three.done("list host interface node1 output-col=ip") == "IP      \n10.1.0.1\n"
    three.done("set host name node1 Node1")
    assert "Node1" in three.done("list host json=yes")


def test_rename_drops_what_an_earlier_host_of_the_new_name_left(three: Site) -> None:
    three.change(
        "INSERT INTO catindex (Name, Category) SELECT 'node1', ID FROM categories WHERE Name = 'host'"
    )
    three.done("set host name compute-0-0 node1")
    assert three.database.rows("SELECT Name FROM vcatindex WHERE Category = 'host' AND Name = 'node1'") == [
        ("node1",)
    ]


def test_a_renamed_frontend_is_still_this_machine(three: Site) -> None:
    three.done("set attr Kickstart_PrivateHostname head")
    three.done("set host name head neck")
    assert (
        three.done("list host localhost output-col=membership,cpus") == "MEMBERSHIP CPUS\nFrontend   4   \n"
    )


def test_a_virtual_machine_that_may_run_cannot_be_renamed(three: Site) -> None:
    three.take_lease("compute-0-0", "head", token=1)
    refusal = three.refused("set host name compute-0-0 new")
    assert (
        "host compute-0-0 is not renamed: it may be running on head, where its domain has this name"
        in refusal
    )
    assert "stop it first: rocks stop host vm compute-0-0" in refusal
    three.done("set host name head neck")
    assert three.database.rows("SELECT Host FROM vm_leases") == [("neck",)]


def test_dump_host_replays(three: Site) -> None:
    three.patch.setenv("ROCKS_LAUNCHER", "/opt/rocks/bin/rocks")
    three.done("set host runaction compute-0-1 none")
    three.done("set host membership compute-0-1 'VM Container'")
    assert three.done("dump host compute-0-0 compute-0-1") == (
        '/opt/rocks/bin/rocks "add host" compute-0-0 cpus=1 rack=0 rank=0 membership=Compute os=linux\n'
        "/opt/rocks/bin/rocks set host runaction compute-0-0 action=os\n"
        "/opt/rocks/bin/rocks set host installaction compute-0-0 action=install\n"
        '/opt/rocks/bin/rocks "add host" compute-0-1 cpus=2 rack=0 rank=1 membership=VM\\ Container os=linux\n'
        "/opt/rocks/bin/rocks set host runaction compute-0-1 action=none\n"
        "/opt/rocks/bin/rocks set host installaction compute-0-1 action=install\n"
    )


def test_dump_host_leaves_this_machine_out(three: Site) -> None:
    three.done("set attr Kickstart_PrivateHostname head")
    assert " head " not in three.done("dump host")


def test_aliases(three: Site) -> None:
    assert three.done("list host alias") == ""
    three.done("add host alias compute-0-0 c00")
    three.done("add host alias head www.example.org")
    assert three.done("list host alias compute-0-0") == "HOST         ALIAS\ncompute-0-0: c00  \n"
    assert 'alias "C00" already exists' in three.refused("add host alias head C00")
    assert "is the name of a host" in three.refused("add host alias head compute-0-1")
    assert "is the name of an appliance" in three.refused("add host alias head login")
    assert "is not valid" in three.refused("add host alias head rack1")
    three.done("remove host alias compute-0-0 c00")
    assert "no alias" in three.refused("remove host alias compute-0-0 c00")
    three.done("add host alias head other")
    refused = three.refused("remove host alias other")
    assert refused.startswith("other is an alias of head: rocks remove host alias alias=other removes it, ")
    three.done("remove host alias alias=other")
    three.done("remove host alias head")
    assert three.done("list host alias") == ""


def test_a_line_says_that_two_hosts_of_an_appliance_have_the_same_place(site: Site) -> None:
    """The published commands permit it, and their dump of a virtual machine does it."""
    for name in ("compute-0-0", "nas-0-0", "compute-0-1"):
        site.done("add host", name)
    for name, line in (
        ("other", "add host other membership=Compute rack=0 rank=0"),
        ("compute-0-1", "set host rank compute-0-1 0"),
        ("nas-0-0", "set host membership nas-0-0 Compute"),
    ):
        ended = site.rocks(line)
        assert (ended.status, ended.out) == (0, "")
        assert ended.err == (
            f"host {name} has the rack 0 and the rank 0 of host compute-0-0 of the same appliance; to change it: "
            f"rocks set host rank {name} RANK\n"
        )
    site.done("set host rack compute-0-1 1")
    assert "of the same appliance" in site.rocks("set host rack compute-0-0 1").err
    several = site.rocks("set host rack nas-0-0 compute-0-1 other 2").err.splitlines()
    assert [line.split()[1] for line in several] == ["compute-0-1", "other"], "nas-0-0 may keep the place"
    again = site.rocks("set host rack compute-0-0 nas-0-0 2").err.splitlines()
    assert [line.split()[1] for line in again] == ["compute-0-0", "nas-0-0"], (
        "hosts that are not named have it, too"
    )
    site.done("add host guest membership=Compute rack=2 rank=0 shared-place=yes")
    (line,) = [line for line in site.done("dump host guest").splitlines() if "add host" in line]
    assert line.endswith(" shared-place=yes")


def test_interfaces_follow_the_name_of_their_host_and_disk_files_are_listed(vm_site: Site) -> None:
    vm_site.done("add host vm vmc-0-0 compute name=web disk=file:/images/web.vda,vda,virtio")
    vm_site.done("add host interface web eth7 name=web-fast")
    ended = vm_site.rocks("set host name web site")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err == (
        "the disk file vmc-0-0:/images/web.vda keeps its name; the virtual machine uses it as before\n"
    )
    names = vm_site.database.rows(
        "SELECT i.Name FROM networks i JOIN nodes n ON n.ID = i.Node WHERE n.Name = 'site' ORDER BY i.ID"
    )
    assert names == [("site",), ("web-fast",)]
    vm_site.done("set host name vmc-0-1 other")
    assert vm_site.done("list host interface other output-col=name").split() == ["NAME", "other"]


def test_a_site_without_a_nas_has_no_images(site: Site) -> None:
    """Without a question to the message broker."""
    assert site.done("list host storagemap") == ""
    assert json.loads(site.done("list host storagemap json=yes")) == []
