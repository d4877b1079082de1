"""What a new frontend needs to know: the questions, their answers, and the site that follows from them. Pure.

The names of the questions are those of the global attributes that keep the answers.
"""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.names import check_device, check_new_host_name, printable
from rocks.core.near_names import nearest
from rocks.install.installation.plan import check_arguments, read_disks, read_partitions
from rocks.inventory import mac_pool
from rocks.inventory.records import Network
from rocks.network.interface_rules import check_ip
from rocks.network.network_rules import DEFAULT_MTU_BYTES, check_no_overlap, check_zone, read_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping


PRIVATE, PUBLIC = "private", "public"


class Question(NamedTuple):
    """One question; `default` None means that an answer is required, unless no question of its network has one."""

    name: str
    meaning: str
    default: str | None
    check: Callable[[str], object]


class SiteInterface(NamedTuple):
    """An interface of the frontend on one of its networks."""

    device: str
    ip: str
    subnet: str


@dataclass(frozen=True)
class SitePlan:
    """The first records of a site: its frontend, its networks, and its global attributes."""

    frontend: str
    networks: tuple[Network, ...]
    interfaces: tuple[SiteInterface, ...]
    attributes: dict[str, str]


def _name_servers(text: str) -> None:
    for address in text.split(","):
        check_ip(address.strip())


def _network_questions(name: str, zone: str) -> tuple[Question, ...]:
    prefix = f"Kickstart_{name.capitalize()}"
    return (
        Question(f"{prefix}Interface", f"device of the {name} network", None, check_device),
        Question(f"{prefix}Address", f"address of the frontend on the {name} network", None, check_ip),
        Question(
            f"{prefix}Netmask", f"netmask of the {name} network", None, partial(read_addresses, "0.0.0.0")
        ),
        Question(f"{prefix}DNSDomain", f"DNS domain of the {name} network", zone, check_zone),
    )


QUESTIONS: tuple[Question, ...] = (
    Question(
        "Kickstart_PrivateHostname",
        "name of the frontend, without a domain",
        None,
        check_new_host_name,
    ),
    *_network_questions(PRIVATE, "local"),
    *_network_questions(PUBLIC, "public"),
    Question("Kickstart_PublicGateway", "default gateway of the public network", "", check_ip),
    Question("Kickstart_PublicDNSServers", "name servers, separated by commas", "", _name_servers),
)
"""In the order in which a person is asked; the public network may be left out as a whole."""

_KEY_OPTION = (
    r'(?:(?:from|environment|expiry-time|permitlisten|permitopen|principals|tunnel)="(?:[^"\\]|\\.)*"'
    "|cert-authority|restrict|verify-required|no-touch-required"
    "|(?:no-)?(?:agent-forwarding|port-forwarding|pty|user-rc|[Xx]11-forwarding))"
)
_KEY = (
    rf"(?:{_KEY_OPTION}(?:,{_KEY_OPTION})* +)?(?:ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)[A-Za-z0-9@.-]+ +[A-Za-z0-9+/=]+"
    "(?: [ -~]*)?"
)
_PARTITIONS, _MAC = "[a-z][a-z0-9]{0,14}(?: +[a-z][a-z0-9]{0,14})*", "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
_DEVICE = re.compile(
    "[A-Za-z][A-Za-z0-9_-]{0,14}"
    r"|[A-Za-z][A-Za-z0-9_-]{0,9}\.(?:[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4])",
    re.ASCII,
)


def _partitions(text: str) -> None:
    if any(one.mount_point == "/boot" for one in read_partitions(text)):
        raise UserError("/boot must be on the partition of /")


def _of_form(pattern: str, meaning: str) -> Callable[[str], object]:
    def check(text: str) -> None:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise UserError(f"it must be {meaning}")

    return check


MACHINE_ANSWERS: dict[str, Callable[[str], object]] = {
    "install_disk": read_disks,
    "install_partitions": _partitions,
    "install_kernel_arguments": check_arguments,
    "install_overwrite": _of_form("yes|no", "yes or no"),
    "install_keep": _of_form(_PARTITIONS, "names of partitions, separated by blanks"),
    "install_private_mac": _of_form(_MAC, "a MAC address such as 52:54:00:00:01:00"),
    "install_public_mac": _of_form(_MAC, "a MAC address such as 52:54:00:00:01:00"),
    "install_rolls": _of_form("[A-Za-z0-9._ +-]+", "all, none, or names of rolls, separated by blanks"),
    "install_restore": _of_form("[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", "the name of a file beside the answers"),
    "install_keyboard": _of_form("[a-z]{2,8}", "a keyboard map such as us"),
    "install_root_key": _of_form(_KEY, "a line of authorized_keys, without command="),
    "install_root_password": _of_form(".{8,}", "at least 8 characters"),
    "install_root_password_hash": _of_form("[$][A-Za-z0-9./$=,_-]{10,}", "a hash as of mkpasswd"),
    "install_timezone": _of_form("[A-Za-z0-9_+/-]{1,64}", "a time zone such as Europe/Berlin"),
}
"""Name → check of the answers for the installer of a frontend (`roll/installer/initramfs/lib/answers.sh`), in the same
file; they are no part of the site. What depends on the machine is checked there.
"""

PUBLIC_NAMES = tuple(question.name for question in QUESTIONS if "_Public" in question.name)
"""The questions about the public network, the device first: without it, there is no such network."""
_PUBLIC_REQUIRED = tuple(q.name for q in QUESTIONS if "_Public" in q.name and q.default is None)


def read_answers(answers: Mapping[str, str]) -> SitePlan:
    """The site that the answers describe; an empty answer is none.

    UserError that lists everything that is wrong, separated by `; `.
    """
    given = _given(answers)
    problems = [problem for _, problem in _problems(given)]
    if problems:
        raise UserError("; ".join(problems))
    return _plan({question.name: given.get(question.name, question.default or "") for question in QUESTIONS})


def read_answers_text(text: str) -> SitePlan:
    """The site of a file of answers, which may have those of the installer too.

    UserError as of `read_answers`, each problem with its line, in their order.
    """
    read = read_answer_lines(text, [*(question.name for question in QUESTIONS), *MACHINE_ANSWERS])
    answers = {name: value for name, value in read.answers.items() if name not in MACHINE_ANSWERS}
    faulty = {problem.name for problem in read.problems}
    problems_of_all = [*_problems(_given(answers), faulty), *_machine_problems(_given(read.answers))]
    found = [(read.lines.get(name, 0), problem) for name, problem in problems_of_all]
    stated = [(problem.line, problem.text) for problem in read.problems]
    problems = sorted([*stated, *found], key=lambda one: one[0] or len(text))
    if problems:
        raise UserError(
            "; ".join(f"line {line}: {problem}" if line else problem for line, problem in problems)
        )
    return read_answers(answers)


def installation_problems(answers: Mapping[str, str]) -> list[str]:
    """The problems for which the installer on a frontend's medium would refuse these answers; none may be empty."""
    site = {name: value for name, value in answers.items() if name not in MACHINE_ANSWERS}
    devices = [name for name in (_network_keys(PRIVATE)[0], PUBLIC_NAMES[0]) if name in answers]
    return [
        *(problem for _, problem in (*_problems(site), *_machine_problems(answers))),
        *(
            f"{name} is {printable(answers[name])}, and the installer sets up adapters and VLANs such as eth0.100"
            for name in devices
            if not _DEVICE.fullmatch(answers[name])
        ),
    ]


def _machine_problems(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in MACHINE_ANSWERS.keys() & given.keys():
        try:
            MACHINE_ANSWERS[name](given[name])
        except UserError as error:
            yield name, f"{name}: {error}"


def _given(answers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in answers.items() if value}


def _problems(given: Mapping[str, str], unreadable: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """(name of the question, what is wrong with its answer); those in `unreadable` are not reported as missing."""
    has_public = any(name in given for name in PUBLIC_NAMES)
    faulty = set()
    for question in QUESTIONS:
        if question.name in given:
            try:
                question.check(given[question.name])
            except UserError as error:
                faulty.add(question.name)
                yield question.name, f"{question.name}: {error}"
        elif question.name in unreadable:
            continue
        elif question.default is None and (has_public or question.name not in _PUBLIC_REQUIRED):
            yield question.name, f"{question.name} is missing: the {question.meaning}"
    known = {question.name for question in QUESTIONS}
    for name in sorted(given.keys() - known):
        yield name, f"{printable(name)} is not a question; the questions are {', '.join(sorted(known))}"
    networks = []
    for name in (PRIVATE, PUBLIC):
        keys = _network_keys(name)
        if all(key in given and key not in faulty for key in keys):
            try:
                networks.append(_network(name, given))
                for other in networks[:-1]:
                    check_no_overlap(networks[-1], [other])
                _check_host_addresses(name, given)
            except UserError as error:
                yield keys[1], str(error)
    devices = [given.get(f"Kickstart_{name.capitalize()}Interface") for name in (PRIVATE, PUBLIC)]
    if devices[0] and devices[0] == devices[1]:
        yield PUBLIC_NAMES[0], f"both networks have the device {printable(devices[0])}; give each its own"


def _network_keys(name: str) -> tuple[str, str, str]:
    prefix = f"Kickstart_{name.capitalize()}"
    return f"{prefix}Interface", f"{prefix}Address", f"{prefix}Netmask"


def _network(name: str, given: Mapping[str, str]) -> Network:
    _, address_key, netmask_key = _network_keys(name)
    address = ipaddress.IPv4Interface(f"{given[address_key]}/{given[netmask_key]}")
    zone = given.get(f"Kickstart_{name.capitalize()}DNSDomain") or {PRIVATE: "local", PUBLIC: "public"}[name]
    start = str(address.network.network_address)
    return Network(name, start, given[netmask_key], DEFAULT_MTU_BYTES, zone, name == PRIVATE)


def _check_host_addresses(name: str, given: Mapping[str, str]) -> None:
    """UserError when the frontend's address is the network's own or its broadcast, or the gateway is outside."""
    _, address_key, netmask_key = _network_keys(name)
    address = ipaddress.IPv4Interface(f"{given[address_key]}/{given[netmask_key]}")
    if address.ip in (address.network.network_address, address.network.broadcast_address):
        raise UserError(f"{address_key} {address.ip} is not an address of a host in {address.network}")
    gateway = given.get("Kickstart_PublicGateway", "")
    try:
        outside = name == PUBLIC and gateway and ipaddress.IPv4Address(gateway) not in address.network
    except ValueError:
        return  # reported by its own check
    if outside:
        raise UserError(
            f"Kickstart_PublicGateway {gateway} is outside of the public network {address.network}"
        )


def _plan(values: dict[str, str]) -> SitePlan:
    names = [name for name in (PRIVATE, PUBLIC) if values[_network_keys(name)[0]]]
    networks = tuple(_network(name, values) for name in names)
    interfaces = tuple(
        SiteInterface(values[_network_keys(name)[0]], values[_network_keys(name)[1]], name) for name in names
    )
    attributes = {name: value for name, value in values.items() if value}
    for network in networks:
        prefix = f"Kickstart_{network.name.capitalize()}"
        attributes[f"{prefix}Network"] = network.subnet
        attributes[f"{prefix}DNSDomain"] = network.dns_zone
    if PUBLIC not in names:
        attributes.pop("Kickstart_PublicDNSDomain", None)
    attributes["Kickstart_PrivateKickstartHost"] = interfaces[0].ip
    attributes["vm_mac_base_addr"] = mac_pool.base_from_address(interfaces[-1].ip)
    attributes["vm_mac_base_addr_mask"] = mac_pool.MASK
    return SitePlan(values["Kickstart_PrivateHostname"], networks, interfaces, attributes)


# A file of answers: its lines NAME = VALUE, and what is wrong with each of them. Pure.


MAX_PROBLEMS = 50
"""The file of something else may have thousands of wrong lines; the rest is not read."""


class Problem(NamedTuple):
    """What is wrong with a line (from 1), and the known name that it gives, or ''."""

    line: int
    name: str
    text: str


class AnswerLines(NamedTuple):
    """The answers by name, the line of each (from 1), and the problems in the order of their lines."""

    answers: dict[str, str]
    lines: dict[str, int]
    problems: list[Problem]


def read_answer_lines(text: str, known: Collection[str]) -> AnswerLines:
    """Read the lines; `known` are the names that may stand there.

    Blanks around names and values do not count. A line that begins with # is a comment. Every problem is listed: no
    NAME = VALUE, an unknown name, a name given twice, a value with control characters; at most `MAX_PROBLEMS`.
    """
    read = AnswerLines({}, {}, [])
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.strip(" \t\r")
        if stripped and not stripped.startswith("#"):
            name, equals, value = (part.strip() for part in stripped.partition("="))
            problem = _problem(stripped, known, read)
            if problem:
                given = name if equals else stripped.split()[0]
                read.problems.append(Problem(number, given if given in known else "", problem))
                if len(read.problems) == MAX_PROBLEMS:
                    break
            else:
                read.answers[name] = value
                read.lines[name] = number
    return read


def _problem(line: str, known: Collection[str], read: AnswerLines) -> str:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals:
        return f"{printable(line)} is not NAME = VALUE"
    if name not in known:
        near = nearest(name, known)
        return f"{printable(name) or 'nothing'} is not a question" + (
            f"; did you mean {' or '.join(near)}?" if near else ""
        )
    if name in read.answers:
        return f"{name} is given again, as in line {read.lines[name]}"
    if not value.isprintable():
        return f"{name} has characters that cannot be printed: {printable(value)}"
    return ""
