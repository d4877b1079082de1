"""Load the dump of another Rocks frontend: its lines, which of them are taken over, and its boots."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.files import open_plain
from rocks.core.names import printable
from rocks.install.boot.actions import (
    INSTALL_RECIPE,
    RUN_RECIPE,
    set_next_boot,
    store_boot_action,
    store_recipe,
)
from rocks.install.boot.files import write_boot_files
from rocks.inventory.attributes.rules import OLD_SUFFIX, PROGRAMS, SYSTEM_SET
from rocks.inventory.attributes.secret_names import is_secret, text_without_secrets, without_secrets
from rocks.inventory.host_records import find_local_host
from rocks.network.dns.changes import names_after_commit
from rocks.network.interface_rules import looks_like_mac

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

    from rocks.database.connection import Database

# Reads the command lines of a `rocks dump` without a shell: quoting is undone, and nothing is expanded or run. Pure.
#
# The quoting is that of a POSIX shell (POSIX.1-2017, Shell Command Language, 2.2): Rocks puts a backslash before
# odd characters, or a text between quotes. `shlex` is not used: it does not distinguish a quoted `;` from one with a
# meaning, and keeps the backslash of `"\$"`. What only a shell can do is a fault of its line.

PROGRAM = "rocks"

_PIECE = re.compile(
    r"(?P<blank>[ \t]+)|(?P<end>\r?\n)|(?P<joined>\\\r?\n)|\\(?P<escaped>.)|'(?P<single>[^']*)'"
    r'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s\\\'"$`;&|<>()*?\[~#]+)|(?P<special>[^\'"\\])',
    re.DOTALL,
)
_IN_QUOTES = re.compile(r'\\(["\\$`])|\\\n')
"""What a backslash quotes between double quotes; before another character it stays."""
_PAIR = re.compile(r"\\.", re.DOTALL)
_WORD = r"(?:[^\s\\'\"$`;&|<>]|\\.)+"
_UNLESS_THERE = re.compile(rf'{_WORD} list host {_WORD} >/dev/null 2>&1 \|\| (?={_WORD} "add host" )')
"""What stands before the line of `rocks dump` that adds the frontend; a host that is there stays in any case."""
_ONLY_AT_THE_START = "~#"
"""Characters that mean something to a shell only where a word begins."""


class DumpLine(NamedTuple):
    """A command of a dump: the number of its first line, its texts, and what only a shell could do with it, or ''."""

    number: int
    texts: tuple[str, ...]
    fault: str = ""


def read_lines(text: str) -> Iterator[DumpLine]:
    """The commands of a dump in order, without blank lines and comments. CR LF ends a line as LF does.

    UserError for a text that ends inside quotes: it is not whole, so nothing of it is to be used.
    """
    if "\r\n" in text and text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")  # in values as well: another program has converted the file
    texts: list[str] = []
    word: list[str] | None = None
    fault, number, place = "", 1, 0
    begun = 1
    while place < len(text):
        if not texts and word is None and (unless := _UNLESS_THERE.match(text, place)):
            place = unless.end()
        piece = _PIECE.match(text, place)
        if piece is None:
            raise UserError(
                f"the quotes that open in line {number} are never closed: the file is damaged or cut off"
            )
        place = piece.end()
        kind = piece.lastgroup
        if kind in ("blank", "end"):
            if word is not None:
                texts.append("".join(word))
            word = None
            if kind == "end":
                if texts or fault:
                    yield DumpLine(begun, tuple(texts), fault)
                texts, fault = [], ""
        elif kind == "special" and word is None and piece[0] == "#":
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
        else:
            if not texts and word is None:
                begun = number
            if kind == "special" and not (word is not None and piece[0] in _ONLY_AT_THE_START):
                fault = fault or _explain(piece[0])
            if expanded := _expanded(piece):
                fault = fault or _explain(expanded)
            if kind != "joined":
                word = [] if word is None else word
                word.append(_unquoted(piece))
        number += piece[0].count("\n")
    if word is not None:
        texts.append("".join(word))
    if texts or fault:
        yield DumpLine(begun, tuple(texts), fault)


def _unquoted(piece: re.Match[str]) -> str:
    if piece["double"] is not None:
        return _IN_QUOTES.sub(lambda found: found[1] or "", piece["double"])
    return next(
        (text for text in (piece["escaped"], piece["single"], piece["plain"]) if text is not None), piece[0]
    )


def _expanded(piece: re.Match[str]) -> str:
    """The character between double quotes that a shell would replace by something else; '' without one."""
    found = re.search("[$`]", _PAIR.sub("", piece["double"] or ""))
    return found[0] if found else ""


def _explain(character: str) -> str:
    printed = character if character.isprintable() else repr(character)
    return f"it needs a shell ({printed} that is not quoted), and none is run"


def command_texts(line: DumpLine) -> tuple[str, ...]:
    """The words after the program: `"add host" compute-0-0` has its first two in one. UserError for another program."""
    if line.fault:
        raise UserError(line.fault)
    program, *texts = line.texts
    first = texts[0].split() if texts else []
    if program.rpartition("/")[2] != PROGRAM or not first:
        raise UserError("it is no command of rocks")
    return (*first, *texts[1:])


# Which line of a Rocks frontend's dump is taken over, and as which command. Pure.
#
# A dump is data: no shell runs it. Each line is done by the command of its name, under a savepoint of one
# transaction, and listed with its reason when it fails; every old site has some such lines. Hosts are named,
# never selected. What is here with another value stays. `sh -e` was refused: it runs whatever else is in the
# file, and stops halfway.


LOCAL = "localhost"
"""The frontend itself, in a dump."""
_FORCED = frozenset((*SYSTEM_SET, "os", "arch"))
_XML = re.compile(r"(kvm_device_\d+|hvm_features)(_old)?", re.IGNORECASE)
_CPU_XML = re.compile(r"cpu_mode(_old)?", re.IGNORECASE)
_WRITTEN = ("ib_partitions_file",)
_KEY_TEXTS = ("-----BEGIN ", "ssh-", "ecdsa-")


class Form(NamedTuple):
    """The arguments of a command in a dump, in order; the last `by_name` of them are given to the command by name."""

    arguments: tuple[str, ...]
    by_name: int = 0
    may_lack: tuple[str, ...] = ()


class Planned(NamedTuple):
    """A command of this system: its texts, its arguments in order, and its parameters."""

    path: tuple[str, ...]
    arguments: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What follows the command's name."""
        return (*self.arguments, *(f"{name}={value}" for name, value in self.parameters))


_INTERFACE_VALUES = ("ip", "name", "mac", "module", "subnet", "vlan", "options", "channel")
_ROUTE = ("address", "gateway")
_ATTRIBUTE = ("attr", "value")
FORMS: dict[str, Form] = {
    "add network": Form(("name",)),
    "add distribution": Form(("distribution",)),
    "add appliance": Form(("appliance",)),
    "add bootaction": Form(()),
    "add attr": Form(_ATTRIBUTE, by_name=2),
    "add os attr": Form(("os", *_ATTRIBUTE), by_name=2),
    "add appliance attr": Form(("appliance", *_ATTRIBUTE), by_name=2),
    "add host attr": Form(("host", *_ATTRIBUTE), by_name=2),
    "add route": Form(_ROUTE),
    "add os route": Form(("os", *_ROUTE)),
    "add appliance route": Form(("appliance", *_ROUTE)),
    "add host route": Form(("host", *_ROUTE)),
    "add host": Form(("new",)),
    "add host alias": Form(("host", "name"), by_name=1),
    "add host interface": Form(("host", "iface")),
    "add host key": Form(("host",)),
    "add host partition": Form(("host",)),
    "add host roll": Form(("host", "roll")),
    "add firewall": Form(()),
    "set host runaction": Form(("host", "action"), by_name=1),
    "set host installaction": Form(("host", "action"), by_name=1),
    "set host boot": Form(("host", "action"), by_name=1),
    "set host bootflags": Form(("host",), may_lack=("host",)),
    "set host vm": Form(("host",)),
    "set host vm cdrom": Form(("host", "cdrom"), by_name=1),
    "set host interface disablekvm": Form(("host", "iface", "disablekvm")),
    "run reconfigure": Form(()),
    **{f"set host interface {name}": Form(("host", "iface", name), by_name=1) for name in _INTERFACE_VALUES},
    "set host vm nas": Form(("host",)),
    "set host sriov": Form(("host", "iface", "vfs")),
    "add host ibport": Form(("host", "device", "guid")),
    "add ib partition": Form(("host",)),
    "remove attr": Form(("attr",), by_name=1),
    "remove os attr": Form(("os", "attr"), by_name=1),
    "remove appliance attr": Form(("appliance", "attr"), by_name=1),
    "remove appliance": Form(("appliance",)),
    "remove bootaction": Form(("action",), by_name=1),
    "remove firewall": Form(()),
}
"""Words of a command in a dump → its form. Those of `remove` stand in this system's own dumps."""
ONLY_ADDS = "a dump only adds; type the command if it is meant"

_REASONS = (
    ("add roll", "rolls are added from their ISO files: rocks add roll FILE, then rocks enable roll NAME"),
    ("enable roll", "rolls are added from their ISO files: rocks add roll FILE, then rocks enable roll NAME"),
    ("add sec_attr", "a secret is not given on a command line: rocks set sec_attr NAME reads it"),
    (
        "add host sec_attr",
        "a secret is not given on a command line: rocks set host sec_attr HOST NAME reads it",
    ),
    ("set sec_attr", "a secret is not given on a command line: rocks set sec_attr NAME reads it"),
    (
        "set host sec_attr",
        "a secret is not given on a command line: rocks set host sec_attr HOST NAME reads it",
    ),
    ("remove", ONLY_ADDS),
)
"""Beginnings of commands, and why they are not taken over."""


def plan_line(
    texts: Sequence[str], command_length: Callable[[Sequence[str]], int], hosts: Container[str]
) -> Planned:
    """The command for the words of a dump's line. UserError, with the reason, for one that is not taken over.

    `command_length`: how many of the texts, from the first, name a command or a group of this system.
    `hosts`: names of the hosts that there are, in lower case, and those that the dump has added.
    """
    length = max(command_length(texts), 1)
    while length > 1 and " ".join(texts[:length]) not in FORMS and " ".join(texts[: length - 1]) in FORMS:
        length -= 1  # a host with the name of a command below
    path = tuple(texts[:length])
    form = FORMS.get(" ".join(path))
    if form is None:
        raise UserError(_why_not(texts, length))
    planned = _split(path, form, texts[length:])
    if path[0] == "remove":
        return planned
    _check_members(form, planned, hosts)
    if path[-1] == "attr":
        _check_attribute(planned)
    if path == ("add", "host", "key") and not dict(planned.parameters).get("key", "").startswith(_KEY_TEXTS):
        raise UserError("its key= is no text of a public key")
    if path == ("run", "reconfigure") and planned.texts not in (("clear=1",), ("clear=yes",)):
        raise UserError("only clear=1 is part of a dump")
    if path == ("add", "host") and "shared-place" not in dict(planned.parameters):
        return planned._replace(parameters=(*planned.parameters, ("shared-place", "yes")))
    return planned


def _why_not(texts: Sequence[str], length: int) -> str:
    given = " ".join(texts)
    for beginning, reason in _REASONS:
        if given == beginning or given.startswith(f"{beginning} "):
            return reason
    named = " ".join(texts[:length]) if length > 1 else " ".join(texts[:3])
    if length > 1:
        return f'"rocks {printable(named)}" is no part of a dump; type the command if it is meant'
    return f'this system has no command "rocks {printable(named)}": its roll is not installed here'


def _split(path: tuple[str, ...], form: Form, texts: Sequence[str]) -> Planned:
    """Arguments and parameters. A value at its place stays one that looks like a parameter: `add attr NAME a=b`."""
    names = list(form.arguments)
    first_value = len(names) - form.by_name
    arguments: list[str] = []
    parameters: dict[str, str] = {}
    for place, text in enumerate(texts):
        name, equals, value = text.partition("=")
        if place < len(names) and len(arguments) + len(parameters) == place:
            if place < first_value and not _is_parameter(name, equals):
                arguments.append(text)
                continue
            if place >= first_value and not text.startswith(f"{names[place]}="):
                parameters[names[place]] = text
                continue
        if not _is_parameter(name, equals) or name in parameters:
            readable = without_secrets(path, texts)[place]
            raise UserError(f'"{printable(readable)}" is unexpected at its place')
        parameters[name] = value
    for place, name in list(enumerate(names))[len(arguments) :]:
        if (place < first_value or not parameters.get(name)) and name not in form.may_lack:
            raise UserError(f"its {name} is missing")
    return Planned(path, tuple(arguments), tuple(parameters.items()))


def _is_parameter(name: str, equals: str) -> bool:
    return bool(equals and name) and all(character.isalnum() or character in "_+-" for character in name)


def _check_members(form: Form, planned: Planned, hosts: Container[str]) -> None:
    """UserError for a host that is not there, and for a pattern in the place of a name."""
    parameters = dict(planned.parameters)
    given = dict(zip(form.arguments, planned.arguments, strict=False))
    members = [given[name] for name in ("host", "appliance", "os", "roll") if name in given]
    if planned.path == ("add", "firewall"):
        members += [parameters[name] for name in ("appliance", "os", "host") if name in parameters]
    for member in members:
        if "%" in member:
            raise UserError(f'"{printable(member)}" is a pattern; a dump has names')
    named = [given["host"]] if "host" in given else []
    if planned.path == ("set", "host", "vm") and parameters.get("physnode"):
        named.append(parameters["physnode"])
    if planned.path == ("add", "firewall") and "host" in parameters:
        named.append(parameters["host"])
    for host in named:
        if host.lower() not in hosts:
            raise UserError(
                f"the host {printable(host)} is not here: it was not taken over, or no line adds it"
            )


def _check_attribute(planned: Planned) -> None:
    name = dict(planned.parameters).get("attr", "")
    if name in _FORCED:
        raise UserError(f"the system sets the attribute {name} itself")
    where = "sec_attr" if len(planned.path) == 2 else "host sec_attr HOST"
    if name.lower().removesuffix(OLD_SUFFIX) in PROGRAMS:
        set_it = f"{where} {name}, which reads it" if is_secret(name) else f"attr {name} PROGRAM"
        raise UserError(
            f"{printable(name)} names a program that this system runs as root: look at it, then rocks set {set_it}"
        )
    if is_secret(name):
        raise UserError(f"{printable(name)} is a secret: rocks set {where} {printable(name)} reads its value")
    _check_reach(planned, name, dict(planned.parameters).get("value", ""))


def _check_reach(planned: Planned, name: str, value: str) -> None:
    """UserError for a value that may give guests parts of hosts, or names a file that root writes."""
    if _XML.fullmatch(name) or (_CPU_XML.fullmatch(name) and ":" in value):
        reason = "is XML for virtual machines, which can give them devices and files of their hosts"
    elif name.lower().removesuffix(OLD_SUFFIX) in _WRITTEN:
        reason = "names a file that this system writes as root"
    else:
        return
    member = "".join(f"{argument} " for argument in planned.arguments)
    command = " ".join(("rocks set", *planned.path[1:]))
    raise UserError(
        f"{printable(name)} {reason}: look at it, then {command} {printable(member)}{printable(name)} VALUE"
    )


_SOLE = ("mac", "ip", "uuid")
"""Parameters of hosts and their interfaces of which no two have the same value."""


def sole_values(planned: Planned) -> list[tuple[str, str]]:
    """What no two hosts can have, of a line about one: its kind, as in `_SOLE`, and the value in lower case."""
    if planned.path[1:2] != ("host",):
        return []
    given = dict(planned.parameters)
    if planned.path == ("add", "host", "interface") and looks_like_mac(planned.arguments[1]):
        given["mac"] = planned.arguments[1]  # it has no device
    return [(kind, given[kind].lower()) for kind in _SOLE if given.get(kind)]


class Stated(NamedTuple):
    """What a line of the dump states: its number, what it is about (the command, then names), and its values."""

    number: int
    about: tuple[object, ...]
    values: Mapping[str, str]


_NAMING = {
    "attr": ("attr",),
    "alias": ("name",),
    "bootaction": ("action",),
    "firewall": ("rulename", "global", "os", "appliance", "host"),
    "key": ("key",),
    "nas": ("index",),
    "partition": ("device",),
    "route": ("netmask",),
}
"""Last word of a command in a dump → its parameters that belong to what it is about, as its arguments do."""


def what_is_stated(
    number: int, path: tuple[str, ...], arguments: Sequence[str], parameters: Mapping[str, str]
) -> Stated:
    """What the line of that number states; `arguments` are in lower case."""
    names, values = list(arguments), dict(parameters)
    form = FORMS.get(" ".join(path))
    if form and path[-1] in ("disablekvm", "sriov") and len(names) == len(form.arguments):
        values[form.arguments[-1]] = names.pop()
    named = [values.pop(name, "").lower() for name in _NAMING.get(path[-1], ())]
    return Stated(number, (path[0], path, *names, *named), values)


def check_stated_once(line: Stated, earlier: Iterable[Stated]) -> None:
    """UserError for a line that stands twice, or contradicts an earlier one; lines of `set` may complete each other.

    `earlier` are lines about the same.
    """
    for one in earlier:
        if one.values == line.values:
            raise UserError(f"it is the same as line {one.number}")
        other = sorted(
            name
            for name in one.values.keys() | line.values.keys()
            if one.values.get(name) != line.values.get(name)
            and (line.about[0] == "add" or (name in one.values and name in line.values))
        )
        if other:
            raise UserError(
                f"line {one.number} states the same with another {', '.join(map(printable, other))}, and counts: "
                f"remove line {one.number} or line {line.number}"
            )


_FIRST_ACTIONS: dict[object, str] = {
    ("set", "host", "runaction"): "os",
    ("set", "host", "installaction"): "install",
}
"""Commands that set an action of a host → that of a frontend which `rocks create site` has just entered."""


def is_of_new_frontend(here: Stated, frontend: str) -> bool:
    """Whether a line of this site states what each new frontend has: its actions, and its name on its interfaces.

    `frontend` is that name in lower case.
    """
    if here.about[2:3] != (LOCAL,):
        return False
    if here.about[1] == ("set", "host", "interface", "name"):
        return here.values["name"].lower() == frontend
    return here.values == {"action": _FIRST_ACTIONS.get(here.about[1])}


def check_changes_nothing(line: Stated, here: Iterable[Stated]) -> None:
    """UserError for a line with another value than this site has, apart from upper and lower case.

    `here` are the lines of this site about the same. Secrets among arguments of kernels are not in the text.
    """
    present = {name: value for one in here for name, value in one.values.items()}
    other = [
        f"{name} is {_readable(present[name])} here and {_readable(value)} in the dump"
        for name, value in line.values.items()
        if name in present and _is_changed(name, present[name].lower(), value.lower())
    ]
    if other:
        raise UserError(f"{', '.join(other)}: what is here stays; type the command if it is meant")


def _is_changed(name: str, here: str, value: str) -> bool:
    if name == "disksize":  # 0 states nothing, and Rocks has it of devices
        return any(new not in ("0", old) for old, new in zip(here.split(), value.split(), strict=False))
    return here != value


def _readable(value: str) -> str:
    return printable(text_without_secrets(value))


# The dump of another frontend: its file, and its lines about boots, which are stored before a boot file is written.


_LARGEST_BYTES = 256 << 20


def read_dump_file(file: str) -> str:
    """The text of a dump. UserError, without waiting, for what is no file or no text."""
    try:
        with open_plain(file) as opened:
            data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"cannot read the dump {printable(file)}: {error.strerror}; give the output of rocks dump in a file"
        ) from None
    if len(data) > _LARGEST_BYTES:
        raise UserError(f"{printable(file)} has more than {_LARGEST_BYTES >> 20} MiB, which no dump has")
    if data and not data.endswith(b"\n"):  # half of a value would be taken for the whole
        raise UserError(
            f"the last line of {printable(file)} has no end: the file is cut off; copy it again. If it is whole, "
            f"add the end: echo >>{shlex.quote(printable(file))}"
        )
    if b"\0" in data:
        raise UserError(f"{printable(file)} is not a text: it has a byte 0, which no dump has")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{printable(file)} is not UTF-8 text (byte {error.start + 1}): iconv -t UTF-8 converts it"
        ) from None


def store_boot_line(database: Database, planned: Planned) -> bool:
    """Store a line about boots in the database alone; False for any other line. UserError as of its command.

    The commands themselves write boot files before their transaction ends.
    """
    given = dict(planned.parameters)
    if planned.path == ("add", "bootaction"):
        _check_known(given, ("action", "kernel", "ramdisk", "args"))
        store_boot_action(
            database, given.get("action", ""), given.get("kernel"), given.get("ramdisk"), given.get("args")
        )
        return True
    if planned.path[:2] != ("set", "host") or planned.path[2:] not in (
        ("runaction",),
        ("installaction",),
        ("boot",),
    ):
        return False
    _check_known(given, ("action",))
    name = planned.arguments[0]
    hosts = [(find_local_host(database) or name) if name.lower() == LOCAL else name]
    if planned.path[-1] == "boot":
        set_next_boot(database, hosts, given["action"])
    else:
        column = RUN_RECIPE if planned.path[-1] == "runaction" else INSTALL_RECIPE
        store_recipe(database, hosts, column, given["action"])
    return True


def write_files_of(database: Database, hosts: Sequence[str]) -> None:
    """Write the boot files of the hosts, and the names when the transaction is committed."""
    write_boot_files(database, hosts)
    names_after_commit(database)


def _check_known(given: dict[str, str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise UserError(f'it has no parameter "{printable(name)}"')
