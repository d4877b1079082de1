"""A command does what it declares, to what was named: anything else is an error, and nothing means all hosts."""

import os
import sys
from pathlib import Path

import pytest

import rocks
from rocks.commands._framework.declarations import taken_by
from rocks.commands._framework.documentation import Declared, read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from tests.command_trees import WriteCommand
from tests.system.commands.conftest import Site
from tests.terminals import on_terminal

TREES = [OUR_TREE]
COMMANDS = {
    path: read_documentation(load_package(path, TREES).Command)
    for path in all_commands(TREES)
    if hasattr(load_package(path, TREES), "Command")
}
EXAMPLES = dict(
    example.split("=")
    for example in (
        *(
            "host=vmc-0-0",
            "frontend=head",
            "nas=vmc-0-0",
            "ip=203.0.113.9",
            "num-computes=1",
            "network=private",
        ),
        *("subnet=private", "appliance=compute", "os=linux", "membership=Compute", "iface=eth0", "action=os"),
        *("cpus=2", "rack=7", "rank=7", "mtu=1500", "attr=colour", "value=red"),
    )
)
"""Values with which many of the commands would do something."""


def arguments_of(path: tuple[str, ...]) -> list[str]:
    """A command line's arguments and required parameters."""
    declared = COMMANDS[path]
    required = [f"{it.name}={value_of(it)}" for it in declared.parameters if not it.optional]
    return [*(value_of(it) for it in declared.arguments), *required]


def value_of(declared: Declared) -> str:
    return EXAMPLES.get(declared.name, "1")


@pytest.mark.slow
def test_every_command_refuses_what_it_does_not_declare(vm_site: Site) -> None:
    """One site for all: a refused command changes nothing, which is part of each question."""
    for path in COMMANDS:
        check_that_undeclared_is_refused(vm_site, path)


def check_that_undeclared_is_refused(vm_site: Site, path: tuple[str, ...]) -> None:
    arguments = arguments_of(path)
    title = " ".join(path)
    usage = f"rocks {title}"
    unknown = vm_site.rocks(*path, *arguments, "nosuchparameter=1")
    assert f'"{title}" knows no parameter "nosuchparameter"' in vm_site.refused(
        *path, *arguments, "nosuchparameter=1"
    )
    (last,) = unknown.err.splitlines()[1:]
    assert last.startswith(usage) and last.endswith(f"; rocks help {title} explains it")
    assert vm_site.refused(*path, *arguments, "json=no", "json=no") == 'the parameter "json" is given twice'
    assert vm_site.refused(*path, *arguments, "json=maybe") == '"json" must be yes or no, not "maybe"'
    for it in COMMANDS[path].parameters:
        if it.type == "bool":
            assert vm_site.refused(*path, *arguments, f"{it.name}=maybe") == (
                f'"{it.name}" must be yes or no, not "maybe"'
            )
    if not any(it.repeat for it in COMMANDS[path].arguments):
        assert "given; " in vm_site.refused(*path, *arguments, "surplus")


@pytest.mark.slow
def test_a_mistyped_parameter_is_answered_with_the_right_one(vm_site: Site) -> None:
    for path in COMMANDS:
        for it in COMMANDS[path].parameters:
            mistyped = it.name[0] + it.name[2:] if len(it.name) > 3 else f"{it.name}s"
            message = vm_site.refused(*path, *arguments_of(path), f"{mistyped}=1")
            assert f"{it.name}=" in message.partition("did you mean ")[2], f"{' '.join(path)}: {message}"


def test_near_names_of_the_reported_cases(vm_site: Site) -> None:
    for line, message in (
        (
            "stop host vm vm-vc1-1 acton=shutdown",
            '"stop host vm" knows no parameter "acton"; did you mean action=?',
        ),
        (
            "add cluster 203.0.113.9 2 mem-per-computes=512",
            '"add cluster" knows no parameter "mem-per-computes"; did you mean mem-per-compute= or num-computes= '
            "or disk-per-compute=?",
        ),
        ("add cluster 203.0.113.22 1 mem=4G", 'knows no parameter "mem"; did you mean mem-per-compute=?'),
        ("add cluster 203.0.113.22 nothing-like-it=4G", "as in num-computes=nothing-like-it=…"),
    ):
        assert message in vm_site.refused(line)
    assert "given by its name" not in vm_site.refused("add cluster 203.0.113.22 1 nothing-like-it=4G")


WITHOUT_HOST = {
    ("add", "host"): "its host is a new one",
    ("list", "host", "macs"): "it needs the attribute airboss",
    ("move", "host", "vm"): "the other host is named",
    ("remove", "host", "vm", "fence"): "its host may have left the database",
    ("set", "cluster", "power"): "another action",
    ("set", "host", "cdrom"): "another drive",
    ("set", "host", "power"): "another action",
    ("sync", "vm", "lease"): "it needs host-off=yes",
}
"""Command → why it does not look for the host of the examples."""


def test_every_command_names_a_host_that_there_is_not(vm_site: Site) -> None:
    wrong, asked = [], 0
    for path in COMMANDS.keys() - WITHOUT_HOST:
        for number, it in enumerate(COMMANDS[path].arguments):
            if it.name in ("host", "frontend", "vm", "nas"):
                arguments = arguments_of(path)
                arguments[number] = "nobody"
                message, asked = vm_site.refused(*path, *arguments), asked + 1
                if 'cannot resolve host "nobody"' not in message:
                    wrong.append(f"{' '.join(path)}: {message}")
    assert wrong == []
    assert asked > 150, "the commands that take hosts were found"


def test_a_parameter_without_its_equals_sign_is_named(vm_site: Site) -> None:
    for texts in (("vm-vc1-0", "status", "yes"), ("status", "yes")):
        message = vm_site.refused("list", "host", "vm", *texts)
        assert '"status" is a parameter here: write status=VALUE' in message, texts
    message = vm_site.refused("set host boot vmc-0-0 install")
    assert message.endswith('"install" is a value here: write action=install')


NEW = {
    ("add", "host"): ["new", "membership=compute", "rack=9", "rank=9"],
    ("add", "host", "interface"): ["vmc-0-0", "eth9"],
}
"""Command → what it would add, since it reads its numbers last."""


def test_every_command_refuses_what_is_no_number(vm_site: Site) -> None:
    wrong, asked = [], 0
    for path in COMMANDS:
        for it in taken_by(load_package(path, TREES).Command):
            if (it.kind, it.type) != ("param", "int"):
                continue
            arguments = NEW.get(path, arguments_of(path))
            others = [text for text in arguments if not text.startswith(f"{it.name}=")]
            message, asked = vm_site.refused(*path, *others, f"{it.name}=many"), asked + 1
            if "many" not in message or "must be a" not in message:
                wrong.append(f"{' '.join(path)} {it.name}: {message}")
    assert wrong == []
    assert asked > 40, "the parameters that are numbers were found"


def test_every_command_refuses_to_be_called_without_what_it_requires(vm_site: Site) -> None:
    for path, declared in COMMANDS.items():
        if any(not it.optional for it in (*declared.arguments, *declared.parameters)):
            assert vm_site.refused(*path), path


@pytest.fixture
def hosts(site: Site) -> Site:
    """Three hosts, one with an alias."""
    for rank in range(3):
        site.done("add host", f"op-0-{rank}", "membership=Compute", "rack=0", f"rank={rank}")
    site.done("add host alias op-0-0 first")
    return site


def test_a_forgotten_value_is_no_attribute_of_all_hosts(hosts: Site) -> None:
    for member in ["op-0-0", "first", "compute", "linux", "rack0"]:
        for verb in ("set", "add"):
            message = hosts.refused(verb, "host", "attr", member, "kvm")
            assert message.startswith(f'"{member}" is a')
            assert "the attribute or its value is missing" in message


def test_a_forgotten_value_after_two_hosts_or_a_forgotten_attribute(hosts: Site) -> None:
    assert '"op-0-1" is a host' in hosts.refused("set host attr op-0-0 op-0-1 kvm")
    assert '"op-0-0" is a host' in hosts.refused("set attr op-0-0 kvm")
    assert '"op-0-1" is a host' in hosts.refused("remove host attr op-0-0 op-0-1")
    assert '"op-0-0" is a host' in hosts.refused("remove host attr op-0-0")
    hosts.done("set host attr op-0-1 attr=op-0-0 value=kvm")
    hosts.done("remove host attr op-0-1 attr=op-0-0")


@pytest.mark.slow
def test_without_a_terminal_no_command_changes_all_because_none_is_named(vm_site: Site) -> None:
    """Every command that takes several hosts, appliances or networks, run without one of them."""
    asked = 0
    # without a host, this one means the entry for all hosts, as `remove attr` does
    for path in COMMANDS.keys() - {("remove", "host", "bootflags")}:
        arguments = COMMANDS[path].arguments
        if path[0] in ("add", "set", "remove") and any(it.repeat for it in arguments):
            asked += 1
            # which also compares all tables before and after
            assert vm_site.refused(*path, *(f"{it.name}={value_of(it)}" for it in arguments if not it.repeat))
    assert asked > 60


def test_the_refusal_counts_and_names_them(hosts: Site) -> None:
    assert hosts.refused("set host attr colour red") == (
        'no host is named, and "set host attr" would reach all 3 (op-0-0, op-0-1, op-0-2); write % to name all'
    )
    hosts.done("set host attr % colour red")


def test_a_command_that_another_calls_does_not_ask(hosts: Site, write_command: WriteCommand) -> None:
    write_command("frob", "self.command('set.host.attr', ['colour', 'red'])")
    assert "no host is named" in hosts.refused("frob")


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("all\n", 1)])
def test_on_a_terminal_a_person_is_asked(
    hosts: Site, cluster_environment: dict[str, str], answer: str, status: int
) -> None:
    before = hosts.contents()
    launcher = Path(rocks.__file__).parent / "cli" / "launch.py"
    command = [sys.executable, str(launcher), "set", "host", "attr", "colour", "red"]
    with on_terminal(command, {**os.environ, **cluster_environment}, columns=200) as terminal:
        question = terminal.read_until("[y/N] ")
        hosts.database.rollback()
        others = (
            "SELECT trx_query FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id <> CONNECTION_ID()"
        )
        assert not hosts.database.rows(others), "no transaction is open while it waits"
        terminal.type(answer)
        ended, printed = terminal.rest()
    assert "set host attr: no host is named. Change all 3 (op-0-0, op-0-1, op-0-2)? " in question
    assert ended == status, printed
    assert (hosts.contents() == before) == (status == 1)
    assert ("nothing was changed" in printed) == (status == 1)
