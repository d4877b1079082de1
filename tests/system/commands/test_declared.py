"""What a command does not declare is an error: every command, with a site that it could change."""

from rocks.commands._framework.documentation import Declared, read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from tests.system.commands.conftest import Site

TREES = [OUR_TREE]
COMMANDS = {
    path: read_documentation(load_package(path, TREES).Command)
    for path in all_commands(TREES)
    if hasattr(load_package(path, TREES), "Command")
}
VALUES = {
    "host": "vmc-0-0",
    "frontend": "head",
    "nas": "vmc-0-0",
    "ip": "203.0.113.9",
    "num-computes": "1",
    "network": "private",
    "subnet": "private",
    "appliance": "compute",
    "os": "linux",
    "membership": "Hosted VM",
    "iface": "eth0",
    "action": "os",
    "cpus": "2",
    "rack": "7",
    "rank": "7",
    "mtu": "1500",
    "attr": "colour",
    "value": "red",
}
"""Values with which many of the commands would do something."""


def arguments_of(path: tuple[str, ...]) -> list[str]:
    """A command line's arguments and required parameters."""
    declared = COMMANDS[path]
    required = [f"{it.name}={value_of(it)}" for it in declared.parameters if not it.optional]
    return [*(value_of(it) for it in declared.arguments), *required]


def value_of(declared: Declared) -> str:
    return VALUES.get(declared.name, "1")


def test_every_command_refuses_what_it_does_not_declare(vm_site: Site) -> None:
    """One site for all: a refused command changes nothing, which is part of each question."""
    for path in COMMANDS:
        check_that_undeclared_is_refused(vm_site, path)


def check_that_undeclared_is_refused(vm_site: Site, path: tuple[str, ...]) -> None:
    arguments = arguments_of(path)
    title = " ".join(path)
    usage = f"rocks {title} {COMMANDS[path].usage()}".rstrip()
    unknown = vm_site.rocks(*path, *arguments, "nosuchparameter=1")
    assert f'"{title}" knows no parameter "nosuchparameter"' in vm_site.refused(
        *path, *arguments, "nosuchparameter=1"
    )
    assert unknown.err.splitlines()[1:] == [usage]
    assert vm_site.refused(*path, *arguments, "json=no", "json=no") == 'the parameter "json" is given twice'
    assert vm_site.refused(*path, *arguments, "json=maybe") == '"json" must be yes or no, not "maybe"'
    for it in COMMANDS[path].parameters:
        if it.type == "bool":
            assert vm_site.refused(*path, *arguments, f"{it.name}=maybe") == (
                f'"{it.name}" must be yes or no, not "maybe"'
            )
    if not any(it.repeat for it in COMMANDS[path].arguments):
        assert "given; " in vm_site.refused(*path, *arguments, "surplus")


def test_a_mistyped_parameter_is_answered_with_the_right_one(vm_site: Site) -> None:
    for path in COMMANDS:
        for it in COMMANDS[path].parameters:
            mistyped = it.name[0] + it.name[2:] if len(it.name) > 3 else f"{it.name}s"
            message = vm_site.refused(*path, *arguments_of(path), f"{mistyped}=1")
            assert f"{it.name}=" in message.partition("did you mean ")[2], f"{' '.join(path)}: {message}"


def test_near_names_of_the_reported_cases(vm_site: Site) -> None:
    assert vm_site.refused("stop host vm vm-vc1-1 acton=shutdown") == (
        '"stop host vm" knows no parameter "acton"; did you mean action=?'
    )
    assert vm_site.refused("add cluster 203.0.113.9 2 mem-per-computes=512") == (
        '"add cluster" knows no parameter "mem-per-computes"; did you mean mem-per-compute= or num-computes= '
        "or disk-per-compute=?"
    )
