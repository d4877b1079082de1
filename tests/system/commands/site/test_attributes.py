"""Attributes in four scopes."""

import ast
import json

import pytest

from rocks.core.process import run_checked
from tests.system.commands.conftest import Site

SCOPES = {
    "global": ([], []),
    "os": (["os"], ["linux"]),
    "appliance": (["appliance"], ["compute"]),
    "host": (["host"], ["compute-0-0"]),
}


def stored(site: Site, name: str) -> list[tuple[str, str, str]]:
    """(scope, member, value) of the attribute, wherever it is."""
    site.database.rollback()
    return [
        (str(scope), str(member), str(value))
        for scope, member, value in site.database.rows(
            "SELECT c.Name, i.Name, t.Value FROM attributes t JOIN catindex i ON i.ID = t.Catindex"
            " JOIN categories c ON c.ID = i.Category WHERE BINARY t.Attr = %s ORDER BY c.ID, i.Name",
            (name,),
        )
    ]


@pytest.mark.parametrize("scope", SCOPES)
def test_add_set_remove_in_every_scope(computes: Site, scope: str) -> None:
    arguments, members = SCOPES[scope]
    member = members[0] if members else "global"
    computes.done("add", *arguments, "attr", *members, "colour", "red")
    assert stored(computes, "colour") == [(scope, member, "red")]
    computes.done("set", *arguments, "attr", *members, "colour", "blue")
    assert stored(computes, "colour") == [(scope, member, "blue")]
    assert stored(computes, "colour_old") == [(scope, member, "red")]
    computes.done("set", *arguments, "attr", *members, "Colour", "green")
    assert stored(computes, "colour") == [(scope, member, "green")]
    assert stored(computes, "colour_old") == [(scope, member, "blue")]
    computes.done("remove", *arguments, "attr", *members, "colour")
    assert stored(computes, "colour") == stored(computes, "colour_old") == []


@pytest.mark.parametrize("scope", SCOPES)
def test_removing_an_attribute_that_is_missing_is_noted(computes: Site, scope: str) -> None:
    """It is no error: scripts remove what may be there. A person may have mistyped the name."""
    arguments, members = SCOPES[scope]
    computes.done("add", *arguments, "attr", *members, "colour", "red")
    command = " ".join(["rocks list", *arguments, "attr"])
    whose = f" of {', '.join(members)}" if members else ""
    for name, hint in (("coluor", "did you mean colour? "), ("x" * 5000, "")):
        ended = computes.rocks("remove", *arguments, "attr", *members, name)
        named = name if hint else "x" * 79 + "…"
        assert (ended.status, ended.out) == (0, "")
        assert ended.err == f'no {scope} attribute "{named}"{whose}: {hint}{command} shows all\n'
    assert stored(computes, "colour")


@pytest.mark.parametrize("scope", SCOPES)
def test_adding_an_existing_attribute_is_an_error(computes: Site, scope: str) -> None:
    arguments, members = SCOPES[scope]
    computes.done("add", *arguments, "attr", *members, "colour", "red")
    assert computes.refused("add", *arguments, "attr", *members, "colour", "blue").startswith(
        'attribute "colour" exists'
    )
    assert computes.refused("add", *arguments, "attr", *members, "COLOUR", "blue").startswith(
        'attribute "COLOUR" exists'
    )


def test_a_missing_argument_is_named(computes: Site) -> None:
    for scope, members in SCOPES.values():
        assert computes.refused("remove", *scope, "attr") == "missing attribute name"
        for verb in ("add", "set"):
            for given, message in (
                ([], "missing attribute name"),
                (["colour"], 'an attribute has a name and a value, and only "colour" is given'),
                ([*members, "attr=colour", "value="], "missing value of attribute"),
                ([*members, "attr=", "value=1"], "missing attribute name"),
                (["attr=colour"], "missing value of attribute"),
                ([*members, "colour", ""], "missing value of attribute"),
            ):
                assert computes.refused(verb, *scope, "attr", *given) == message, given


def test_name_and_value_may_be_given_by_name(computes: Site) -> None:
    computes.done("add host attr compute-0-0 attr=a value=x=y")
    computes.done("add host attr compute-0-0 compute-0-1 b value=2")
    computes.done("set attr value=3 c")
    assert stored(computes, "a") == [("host", "compute-0-0", "x=y")]
    assert stored(computes, "b") == [("host", "compute-0-0", "2"), ("host", "compute-0-1", "2")]
    assert stored(computes, "c") == [("global", "global", "3")]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("verb", ["add", "set"])
def test_a_name_that_is_nearly_a_known_one_is_refused_unless_forced(
    computes: Site, scope: str, verb: str
) -> None:
    arguments, members = SCOPES[scope]
    command = (verb, *arguments, "attr", *members, "vm_fliter", "off")
    assert computes.refused(*command) == (
        '"vm_fliter" is no attribute that the system reads; did you mean vm_filter? For an attribute of the '
        "site's own by that name, give force=yes too"
    )
    assert stored(computes, "vm_fliter") == stored(computes, "vm_filter") == []
    computes.done(*command, "force=yes")
    assert stored(computes, "vm_fliter") == [(scope, members[0] if members else "global", "off")]
    assert "vm_fliter off force=yes\n" in computes.done("dump", *arguments, "attr")
    computes.done("set", *arguments, "attr", *members, "vm_fliter", "on")  # it is the site's own now
    assert stored(computes, "vm_fliter") == [(scope, members[0] if members else "global", "on")]


def test_a_value_that_looks_like_a_parameter_must_be_named(computes: Site) -> None:
    """Otherwise `set host attr h1 args console=ttyS0` would set the attribute h1 of all hosts."""
    for scope, members in SCOPES.values():
        for verb in ("add", "set"):
            assert computes.refused(verb, *scope, "attr", *members, "args", "console=ttyS0").endswith(
                'knows no parameter "console"; an argument that looks like one is given by its name, '
                "as in value=console=…"
            )


def test_all_members_are_named_by_a_pattern(computes: Site) -> None:
    computes.done("add os attr % a 1")
    computes.done("add host attr % b 1")
    assert stored(computes, "a") == [("os", "linux", "1"), ("os", "sunos", "1")]
    assert stored(computes, "b") == [("host", "compute-0-0", "1"), ("host", "compute-0-1", "1")]
    computes.done("add appliance attr % c 1")
    assert len(stored(computes, "c")) == 8
    computes.done("remove os attr % a")
    computes.done("remove host attr % b")
    computes.done("remove appliance attr % c")
    assert stored(computes, "a") == stored(computes, "b") == stored(computes, "c") == []


def test_nothing_is_added_when_one_member_has_the_attribute(computes: Site) -> None:
    computes.done("add host attr compute-0-1 a 1")
    assert computes.refused("add host attr % a 2") == (
        'attribute "a" exists for host compute-0-1; rocks set host attr changes its value'
    )


def test_changes_of_one_leave_the_others(computes: Site) -> None:
    computes.done("add host attr compute-0-0 a 1")
    computes.done("set host attr % a 2")
    assert stored(computes, "a_old") == [("host", "compute-0-0", "1")]
    computes.done("add attr a 0")
    computes.done("remove host attr compute-0-0 a")
    assert stored(computes, "a") == [("global", "global", "0"), ("host", "compute-0-1", "2")]
    computes.done("set attr a_old 1")
    computes.done("set attr a_old 2")
    assert stored(computes, "a_old") == [("global", "global", "2")] and stored(computes, "a_old_old") == []


@pytest.mark.slow
def test_unknown_members(computes: Site) -> None:
    for kind, member, message in (
        ("os", "beos", 'unknown os "beos"'),
        ("host", "compute-9-9", 'cannot resolve host "compute-9-9"'),
        ("appliance", "nothing", 'unknown appliance "nothing"; rocks list appliance lists the known ones'),
    ):
        for verb in ("add", "set"):
            assert computes.refused(verb, kind, "attr", member, "a", "1").startswith(message)
        assert computes.refused("list", kind, "attr", member).startswith(message)


def test_list_attr_has_the_attribute_as_owner(site: Site) -> None:
    site.done("add attr zone local")
    site.done("add attr Kickstart_Lang en_US")
    assert site.done("list attr") == (
        "ATTR            VALUE           \n"
        "Kickstart_Lang: en_US           \n"
        "cpu_mode:       host-passthrough\n"
        "zone:           local           \n"
    )
    assert json.loads(site.done("list attr json=yes"))[2] == {"attr": "zone", "list": [{"value": "local"}]}


def test_list_os_attr_leaves_out_a_single_owner(site: Site) -> None:
    assert site.done("list os attr sunos") == (
        "ATTR             VALUE                  \n"
        "HttpConf         /etc/apache2/2.2       \n"
        "HttpConfigDirExt /etc/apache2/2.2/conf.d\n"
        "HttpRoot         /var/apache2/2.2/htdocs\n"
        "RootDir          /                      \n"
    )
    both = site.done("list os attr").splitlines()
    assert both[0].split() == ["OS", "ATTR", "VALUE"]
    assert [line.split()[0] for line in both[1:]] == ["linux:"] * 4 + ["sunos:"] * 4


def test_list_appliance_attr_always_has_owners(site: Site) -> None:
    assert site.done("list appliance attr vm-container") == (
        "APPLIANCE     ATTR          VALUE     \n"
        "vm-container: dhcp_filename pxelinux.0\n"
        "vm-container: kickstartable yes       \n"
        "vm-container: kvm           true      \n"
        "vm-container: managed       true      \n"
    )
    everybody = site.done("list appliance attr output-col=appliance output-header=no").split()
    assert list(dict.fromkeys(everybody)) == [
        f"{name}:"
        for name in ("frontend", "compute", "login", "nas", "network", "power", "vm-container", "hosted-vm")
    ]


def test_list_host_attr_is_resolved_with_sources(site: Site) -> None:
    site.done("add host vmc-0-0 'membership=VM Container' rack=0 rank=3")
    site.done("add host attr vmc-0-0 managed false")
    lines = site.done("list host attr vmc-0-0").splitlines()
    assert lines[0] == "HOST     ATTR                VALUE             SOURCE"
    found = {line[9:28].strip(): (line[29:46].strip(), line[47:]) for line in lines[1:]}
    assert list(found) == sorted(found)
    assert all(line.startswith("vmc-0-0: ") and len(line) == len(lines[0]) for line in lines[1:])
    expected = {
        "appliance": ("vm-container", "I     "),
        "membership": ("VM Container", "I     "),
        "rank": ("3", "I     "),
        "cpu_mode": ("host-passthrough", "G     "),
        "RootDir": ("/root", "O     "),
        "kvm": ("true", "A     "),
        "managed": ("false", "H     "),
        "os": ("linux", "H     "),
        "version": ("0.1.1", "G     "),
    }
    assert {name: found[name] for name in expected} == expected


def test_report_host_attr(computes: Site) -> None:
    computes.done("add host attr compute-0-0 text", "a b:'\"<&>\\")
    lines = computes.done("report host attr compute-0-0").splitlines()
    assert lines == sorted(lines, key=lambda line: line.partition(":")[0])
    assert "text:a b:'\"<&>\\" in lines
    assert "hostname:compute-0-0" in lines
    assert computes.done("report host attr compute-0-0 attr=text") == "a b:'\"<&>\\\n"
    assert computes.done("report host attr compute-0-0 attr=TEXT") == "a b:'\"<&>\\\n"
    assert computes.refused("report host attr compute-0-1 attr=text").startswith(
        "Attribute text does not exist"
    )
    assert computes.refused("report host attr attr=text").startswith("Attribute text does not exist")
    assert computes.done("report host attr attr=rank") == "compute-0-0: 0\ncompute-0-1: 1\n"


def test_report_host_attr_as_a_dictionary(computes: Site) -> None:
    computes.done("add host attr compute-0-0 text", "a\nb'\"é")
    text = computes.done("report host attr compute-0-0 pydict=true")
    attributes = ast.literal_eval(text)
    assert attributes["text"] == "a\nb'\"é"
    assert attributes["hostname"] == "compute-0-0"
    every = computes.done("report host attr pydict=yes").splitlines()
    assert [ast.literal_eval(line)["hostname"] for line in every] == ["compute-0-0", "compute-0-1"]


def test_dump_prints_commands(computes: Site) -> None:
    computes.done("set attr cpu_mode host-model")
    computes.done("add host attr compute-0-1 args", "value=console=ttyS0 $x 'y' *")
    computes.done("add host attr compute-0-1 plain value=a=b")
    computes.change("UPDATE attributes SET Value = '' WHERE Attr = 'cpu_mode_old'")
    rocks = "/opt/rocks/bin/rocks"
    assert computes.done("dump attr") == f"{rocks} add attr cpu_mode host-model\n"
    assert computes.done("dump host attr") == (
        f"{rocks} add host attr compute-0-1 args value=console=ttyS0\\ \\$x\\ \\'y\\'\\ \\*\n"
        f"{rocks} add host attr compute-0-1 plain value=a=b\n"
    )
    assert f"{rocks} add os attr linux RootDir /root\n" in computes.done("dump os attr")
    assert computes.done("dump appliance attr power") == (
        f"{rocks} add appliance attr power kickstartable no\n{rocks} add appliance attr power managed false\n"
    )


def test_dump_calls_this_machine_localhost(site: Site) -> None:
    site.done("add host head membership=Frontend rack=0 rank=0")
    site.done("add attr Kickstart_PrivateHostname head")
    site.done("add host attr head airboss localhost")
    assert site.done("dump host attr") == "/opt/rocks/bin/rocks add host attr localhost airboss localhost\n"


def test_the_attribute_of_the_frontend_names_a_physical_frontend(site: Site) -> None:
    """In a dump it comes before its host, so on a site without one it may be any name."""
    site.done("set attr Kickstart_PrivateHostname head")
    site.done("add host head membership=Frontend rack=0 rank=0")
    site.done("add host compute-0-0")
    site.done("add host vc1 membership=Frontend rack=0 rank=1")
    site.done("set host vm vc1 virt-type=hvm")
    for name in ("nonsense", "compute-0-0", "vc1"):
        error = site.refused(f"set attr Kickstart_PrivateHostname {name}")
        assert (
            f"{name} is not the frontend of this site, which is head: rocks set attr Kickstart_Priv" in error
        )
    site.done("set attr Kickstart_PrivateHostname HEAD")
    error = site.refused("remove attr kickstart_privatehostname")
    assert error.startswith(
        "kickstart_privatehostname is not removed: it names the frontend of this site, which is head: rocks set attr"
    )
    site.done("set appliance attr compute Kickstart_PrivateHostname head")
    site.done("remove appliance attr compute Kickstart_PrivateHostname")  # nothing reads it there
    assert stored(site, "Kickstart_PrivateHostname") == [("global", "global", "HEAD")]


def test_what_the_system_sets_itself_is_refused_in_every_scope(computes: Site) -> None:
    """It had no effect, or another one than the command that is meant."""
    for command in (
        "set attr",
        "add os attr linux",
        "set appliance attr compute",
        "set host attr compute-0-0",
    ):
        assert (
            computes.refused(f"{command} rocks_version 9")
            == "the system sets the attribute rocks_version itself"
        )
        error = computes.refused(f"{command} Hostname foo force=yes")
        remedy = "of a host, rocks set host name, rack, rank or membership"
        assert error == f"the system sets the attribute Hostname itself; {remedy}"


def read_by_shell(lines: str) -> list[list[str]]:
    """The arguments of each command line, as /bin/sh parses them."""
    reader = "p() { printf '%s\\0' $# \"$@\"; }\n"
    script = reader + lines.replace("/opt/rocks/bin/rocks", "p rocks")
    ended = run_checked(["/bin/sh"], deadline_seconds=60, standard_input=script.encode())
    assert ended.error_output == b""
    arguments = ended.output.decode().split("\0")
    commands = []
    while arguments != [""]:
        count = int(arguments[0])
        commands.append(arguments[1 : count + 1])
        arguments = arguments[count + 1 :]
    return commands


def test_an_image_that_the_library_lacks_is_stored_with_a_note(computes: Site) -> None:
    ended = computes.rocks("set host attr compute-0-0 vm_image nosuch")
    assert (ended.status, ended.out) == (0, ""), ended
    assert "no disk is made from this vm_image now: there is no image nosuch in the library" in ended.err
    assert stored(computes, "vm_image") == [("host", "compute-0-0", "nosuch")]
    ended = computes.rocks("set host attr compute-0-0 vm_image volume:golden")
    assert (ended.status, ended.err) == (0, ""), ended
