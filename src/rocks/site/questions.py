"""What a new frontend needs to know: the questions, their answers, and the site that follows from them. Pure.

The names of the questions are those of the global attributes that keep the answers.
"""

from __future__ import annotations

import ipaddress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.names import check_device, check_new_host_name, printable
from rocks.core.near_names import nearest
from rocks.install.installation.disks import read_disks, read_partitions
from rocks.install.installation.plan import check_arguments
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

MACHINE_ANSWERS: dict[str, Callable[[str], object]] = {
    "install_disk": read_disks,
    "install_partitions": read_partitions,
    "install_kernel_arguments": check_arguments,
    **dict.fromkeys(
        (
            *(
                "install_overwrite",
                "install_keep",
                "install_private_mac",
                "install_public_mac",
                "install_rolls",
                "install_restore",
                "install_keyboard",
            ),
            *("install_root_key", "install_root_password", "install_root_password_hash", "install_timezone"),
        ),
        str,
    ),
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
