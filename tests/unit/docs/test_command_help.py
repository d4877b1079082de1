"""The help of every command: two examples that the command takes, related commands, types, defaults, units."""

import ast
import inspect
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from importlib import import_module

import pytest

from rocks.cluster.add import COMPUTE_CPUS, COMPUTE_MEMORY_MB
from rocks.commands._framework.arguments import parse_arguments
from rocks.commands._framework.base import Command
from rocks.commands._framework.common_arguments import COMMON
from rocks.commands._framework.declarations import (
    attributes_of,
    check_given,
    default_number,
    docstring_of,
    elements,
    short_usage,
    taken_by,
)
from rocks.commands._framework.documentation import Declared, read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from rocks.core.errors import BugError, UserError
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.wire.requests import MAX_LINES
from rocks.install.boot.discovery import LAST_RANK
from rocks.inventory.host_requests import LONGEST_SECONDS
from rocks.inventory.limits import DEFAULT_VM_CPUS, MAX_VM_CPUS
from rocks.machine.limits import (
    DEFAULT_DISK_GB,
    DEFAULT_MEMORY_MB,
    LARGEST_DISK_GB,
    LARGEST_MEMORY_MB,
    LEAST_MEMORY_MB,
)
from rocks.storage.limits import WRITE_BACK_SECONDS

TREES = [OUR_TREE]
COMMANDS = {
    path: load_package(path, TREES).Command
    for path in all_commands(TREES)
    if hasattr(load_package(path, TREES), "Command")
}


def faults_of_examples(path: tuple[str, ...], command: type[Command]) -> list[str]:
    """What is missing in a command's examples, or is not what it takes."""
    found = []
    declared = taken_by(command)
    lines = list(dict.fromkeys(line for line, _ in read_documentation(command).examples))
    if len(lines) < (2 if declared else 1):
        found.append(f"{' '.join(path)}: add a second <example>")
    for line in lines:
        example = shlex.split(line)
        given = parse_arguments(example[1 if " " in example[0] else len(path) :])
        check_given(command(Database(Settings("/nowhere", "", 0, "", "", ""))), given)
        required = [it for it in declared if not it.optional and it.name not in given.parameters]
        if len(given.arguments) < len(required):
            found.append(f"{line}: an argument is missing")
        for it in declared:
            value = given.parameters.get(it.name)
            if value is not None and (
                (it.values and value not in it.values) or (it.type == "int" and not value.isdigit())
            ):
                found.append(f"{line}: {it.name} has another type")
    return found


def test_examples_are_what_a_command_takes() -> None:
    """Two at least, unless it takes nothing."""
    assert [fault for path, command in COMMANDS.items() for fault in faults_of_examples(path, command)] == []


def test_every_command_has_related_commands() -> None:
    missing = [
        " ".join(path) for path, command in COMMANDS.items() if not read_documentation(command).related
    ]
    assert missing == [], "add <related>another command</related>"


NUMBER = re.compile(
    r"(^|[-_])(size|mem|memory|disksize|cpus|timeout|interval|delay|days|hours|seconds|count|lines|width)($|[-_])"
)
"""Names of sizes, times and counts, of whatever type they are."""


def faults_of_facts(it: Declared, first_tag: str) -> Iterator[str]:
    """What the declaration of an argument or a parameter does not say; `first_tag` is its start tag."""
    if "type=" not in first_tag or it.type not in ("string", "int", "bool"):
        yield "type='string', 'int' or 'bool'"
    if it.optional and not it.default:
        yield "default='what counts without it', or a word such as none or unchanged"
    if not it.optional and it.default:
        yield "optional='1', or no default"
    if (
        it.type == "bool"
        and it.optional
        and it.default.split()[0] not in ("yes", "no", "only", "the", "unchanged")
    ):
        yield "a default of yes or no"
    if not it.unit and (it.type == "int" or (it.type == "string" and NUMBER.search(it.name))):
        yield "unit='MB' or the like; unit='none' for a number that is no size, time or count"
    if re.search(r"[Dd]efault: |\((the )?default\)", it.text):
        yield "the default as an attribute, not in its text"


def test_every_argument_and_parameter_has_its_type_default_and_unit() -> None:
    """A new command cannot come without them."""
    faults = []
    for path, command in COMMANDS.items():
        documentation = read_documentation(command)
        found = elements(command.__doc__ or "", docstring_of)
        tags = [tag for element in ("arg", "param") for kind, tag, _ in found if kind == element]
        for it, tag in zip((*documentation.arguments, *documentation.parameters), tags, strict=True):
            faults += [f"{' '.join(path)}: {it.name}: declare {fault}" for fault in faults_of_facts(it, tag)]
    assert faults == []


def test_a_declaration_without_its_facts_is_a_fault() -> None:
    """The rule of the test above, on declarations that break it."""
    bare = Declared("mem", "int", True, False, "Memory in MB; default: 2048.")
    assert len(list(faults_of_facts(bare, "name='mem'"))) == 4
    right = Declared("mem", "int", True, False, "Memory.", default="2048", unit="MB")
    assert list(faults_of_facts(right, "type='int' name='mem'")) == []
    assert len(list(faults_of_facts(Declared("timeout", "string", False, False, "T."), "type='string'"))) == 1


def coded_defaults(command: type[Command]) -> dict[str, str]:
    """Name → default, of the parameters that the code of a command reads with one that it names."""
    module = import_module(command.__module__)
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        name, *rest = node.args
        if not isinstance(name, ast.Constant) or node.func.attr not in ("fillText", "fillFlag"):
            continue
        default = rest[0] if rest else ast.Constant(False)
        value = getattr(module, default.id, None) if isinstance(default, ast.Name) else None
        value = default.value if isinstance(default, ast.Constant) else value
        if node.func.attr == "fillFlag" and isinstance(value, bool):
            found[str(name.value)] = "yes" if value else "no"
        elif node.func.attr == "fillText" and isinstance(value, str) and value:
            found[str(name.value)] = value
    return found


def test_defaults_in_help_are_those_of_the_code() -> None:
    compared, wrong = 0, []
    for path, command in COMMANDS.items():
        documentation = read_documentation(command)
        declared = {it.name: it.default for it in (*documentation.arguments, *documentation.parameters)}
        for name, default in coded_defaults(command).items():
            stated = declared.get(name, "")
            if not stated or stated.split()[0] in ("unchanged", "the", "only"):
                continue  # no constant
            compared += 1
            if stated != default:
                wrong.append(f"{' '.join(path)}: {name}: {stated!r}, but the code has {default!r}")
    assert wrong == [] and compared > 80


RANGES = {
    ("add host vm", "cpus"): (1, MAX_VM_CPUS),
    ("set host vm", "cpus"): (1, MAX_VM_CPUS),
    ("add cluster", "cpus-per-compute"): (1, MAX_VM_CPUS),
    ("add host vm", "mem"): (LEAST_MEMORY_MB, LARGEST_MEMORY_MB),
    ("add host vm", "disksize"): (1, LARGEST_DISK_GB),
    ("add cluster", "mem-per-compute"): (LEAST_MEMORY_MB, LARGEST_MEMORY_MB),
    ("add cluster", "disk-per-compute"): (1, LARGEST_DISK_GB),
    ("add cluster", "disk-per-frontend"): (1, LARGEST_DISK_GB),
    ("set host vm", "maxcpus"): (1, MAX_VM_CPUS),
    ("set host vm", "maxmem"): (LEAST_MEMORY_MB, LARGEST_MEMORY_MB),
    ("run host", "timeout"): (0, LONGEST_SECONDS),
    ("run host", "delay"): (0, LONGEST_SECONDS),
    ("discover host", "rank"): (0, LAST_RANK),
    ("report host vm console", "lines"): (1, MAX_LINES),
}
"""Ranges that other code knows, too."""

DEFAULTS = {
    ("add cluster", "cpus-per-compute"): COMPUTE_CPUS,
    ("add cluster", "mem-per-compute"): COMPUTE_MEMORY_MB,
    ("add cluster", "disk-per-compute"): DEFAULT_DISK_GB,
    ("add cluster", "disk-per-frontend"): DEFAULT_DISK_GB,
    ("add host vm", "cpus"): DEFAULT_VM_CPUS,
    ("add host vm", "mem"): DEFAULT_MEMORY_MB,
    ("add host vm", "disksize"): DEFAULT_DISK_GB,
    ("sync host storagemap", "timeout"): WRITE_BACK_SECONDS,
    ("remove host storagemap", "timeout"): WRITE_BACK_SECONDS,
}
"""Declared defaults that other code knows, too."""


def test_declared_numbers_are_the_defaults_of_the_code() -> None:
    found = {key: default_number(COMMANDS[tuple(key[0].split())], key[1]) for key in DEFAULTS}
    assert found == DEFAULTS


def test_each_number_is_taken_between_its_bounds_only() -> None:
    """Other code that knows them has the same, and the default is one of the numbers."""
    ranges = {
        (" ".join(path), it.name): it for path in COMMANDS for it in taken_by(COMMANDS[path]) if it.range
    }
    bounds = {}
    for key, it in ranges.items():
        lowest, _, highest = it.range.partition("..")
        bounds[key] = (int(lowest or -999_999_999), int(highest or 999_999_999))
    assert {key: bounds[key] for key in RANGES} == RANGES and len(bounds) > 30
    wrong = []
    for (name, parameter), (lowest, highest) in bounds.items():
        declared = ranges[name, parameter]
        assert (declared.type, declared.kind) == ("int", "param")
        if re.fullmatch("-?[0-9]+", declared.default):
            assert lowest <= int(declared.default) <= highest, (name, parameter)
        command = COMMANDS[tuple(name.split())](Database(Settings("/nowhere", "", 0, "", "", "")))
        for number in (lowest - 1, lowest, highest, highest + 1):
            try:
                check_given(command, parse_arguments([f"{parameter}={number}"]))
                is_taken = True
            except UserError:
                is_taken = False
            if is_taken != (lowest <= number <= highest):
                wrong.append(f"{name} {parameter}={number} is {'taken' if is_taken else 'refused'}")
    assert wrong == []


def test_what_is_read_as_a_number_has_a_range() -> None:
    """`fillNumber` and `fillGivenNumber` do not check the text again."""
    read = re.compile(r"fill(Given)?Number\(\"([\w-]+)\"\)")
    compared = 0
    for path, command in COMMANDS.items():
        declared = {it.name: it for it in taken_by(command)}
        for given, name in read.findall(inspect.getsource(import_module(command.__module__))):
            compared += 1
            assert declared[name].range, (path, name)
            assert given or re.fullmatch("-?[0-9]+", declared[name].default), (path, name)
    assert compared > 15


@pytest.mark.parametrize("text", ["", "-1", "3601", "1.0", "٣", "9" * 30, "1\n"])
def test_a_number_outside_its_range_is_refused_before_the_command_begins(text: str) -> None:
    command = COMMANDS["stop", "host", "vm"](Database(Settings("/nowhere", "", 0, "", "", "")))
    with pytest.raises(UserError, match=r'^timeout ".*" must be an integer from 0 to 3600 seconds$'):
        check_given(command, parse_arguments(["vm-0", f"timeout={text}"]))
    command.useArguments({}, ["vm-0"])
    assert command.fillNumber("timeout") == 60 and command.fillGivenNumber("timeout") is None
    command.useArguments({"timeout": "5"}, ["vm-0"])
    assert command.fillNumber("timeout") == command.fillGivenNumber("timeout") == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("add host vm vm-container-0-0 compute mem=4X", "from 32 to 67108864 MB, or a size such as 40G"),
        ("add host vm vm-container-0-0 compute disksize=0", "from 1 to 1000000 GB"),
        (
            "add host vm vm-container-0-0 compute disksize=20GiB",
            "of GB; the next larger one is disksize=22",
        ),
    ],
)
def test_an_error_about_a_size_names_its_unit(line: str, message: str) -> None:
    command = COMMANDS["add", "host", "vm"](Database(Settings("/nowhere", "", 0, "", "", "")))
    with pytest.raises(UserError, match=f"{message}$"):
        check_given(command, parse_arguments(line.split()[3:]))


def test_the_usage_after_an_error_is_one_line_of_every_command() -> None:
    """A long one hides the error above it."""
    usages = {path: short_usage(command) for path, command in COMMANDS.items()}
    assert usages["add", "cluster"] == "{ip} {num-computes} [NAME=VALUE] ..."
    assert max(map(len, usages.values())) <= 120


def test_shared_parameters_stand_in_place() -> None:
    text = "<arg name='host'>H.</arg><shared command='add widget' names='size,hard'/><example cmd='x'>X.</example>"
    other = (
        "<param type='bool' name='hard'>Hard.</param><param name='other'/><param name='size'>Size.</param>"
    )
    found = elements(text, lambda path: other if list(path) == ["add", "widget"] else "")
    assert [kind for kind, _, _ in found] == ["arg", "param", "param", "example"]
    assert [content for _, _, content in found] == ["H.", "Size.", "Hard.", "X."]
    with pytest.raises(BugError, match="shares size, hard of the help of"):
        elements(text, lambda path: "")


def test_common_arguments_stand_in_place_in_every_form_of_help() -> None:
    found = elements("<shared names='one-host,dry-run'/>", docstring_of)
    assert [(kind, attributes_of(tag)["name"]) for kind, tag, _ in found] == [
        ("arg", "host"),
        ("param", "dry-run"),
    ]
    assert "name='dry-run'" in read_documentation(COMMANDS["set", "host", "power"]).raw
    with pytest.raises(BugError, match="shares wheels, which is no common argument"):
        elements("<shared names='one-host,wheels'/>", docstring_of)


def test_every_common_argument_is_used_by_several_commands() -> None:
    uses = Counter(
        name
        for command in COMMANDS.values()
        for names in re.findall(r"<shared names='(.*?)'/>", command.__doc__ or "")
        for name in names.split(",")
    )
    assert {name for name in COMMON if uses[name] < 2} == set()


def test_the_rules_of_firewalls_are_explained_once() -> None:
    assert "<shared" in (COMMANDS["add", "host", "firewall"].__doc__ or "")
    explained = {it.name: it.text for it in read_documentation(COMMANDS["add", "firewall"]).parameters}
    shared = read_documentation(COMMANDS["add", "host", "firewall"]).parameters
    assert len(shared) == 10 and all(explained[it.name] == it.text for it in shared)
    assert docstring_of(("add", "firewall")) == COMMANDS["add", "firewall"].__doc__
