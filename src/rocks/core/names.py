"""Rules for names of hosts, interfaces, networks and so on. Pure.

Names are used in files, command lines, XML and DNS. They are therefore plain ASCII and never need quoting.

Quoting at each output was refused: a forgotten one is a vulnerability. Selectors (`rack0`, `localhost`, an
appliance) are no names of hosts. Values (attributes, comments) are free text, which is bound, escaped or
passed as one argument.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

HOST_NAME_LONGEST = 63
ALIAS_LONGEST = 32
DEVICE_LONGEST = 15
"""Characters of a network device's name in Linux (IFNAMSIZ less its final zero)."""

PRINTABLE_LONGEST = 80

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_LABEL_MEANING = "letters, digits, dashes and underscores, the first and the last a letter or a digit"
_PHRASE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 _./+-]*[A-Za-z0-9+])?")
_PHRASE_MEANING = "letters, digits, blanks and . _ / + -, the first and the last a letter or a digit"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_PLAIN_MEANING = "letters, digits and . _ : -, the first a letter or a digit"
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(?::[0-9]{1,4})?")
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RACK_NUMBER = re.compile(r"rack[0-9]+", re.IGNORECASE)
_NAME_OF_PLACE = re.compile(r"(.+)-([0-9]{1,9})-([0-9]{1,9})")

_RESERVED_NAMES = frozenset(("localhost", "select", "help", "null", "none"))
"""Names with another meaning where a host, a member or a value is expected."""

_MISREAD = {
    "dnsmasq": (re.compile(r"[0-9]+[smhdw]?|ignore|infinite", re.IGNORECASE), "the time of a lease"),
    "Slurm": (re.compile(r"all|default", re.IGNORECASE), "all hosts, or their defaults"),
    "the resolver": (re.compile(r"[0-9]+|0x[0-9a-f]+", re.IGNORECASE), "an address"),
}
"""Program → names that it reads as something else, and as what. Tried with dnsmasq 2.90, Slurm 22.05.8, glibc 2.36."""


def counted(count: int, noun: str) -> str:
    """`1 host`, `2 hosts`: for a message."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first names, for a message, and how many more there are: `a, b, c and 4 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """`text` for a message: one line, at most 80 characters, without control characters."""
    safe = one_line(text)
    return safe if len(safe) <= PRINTABLE_LONGEST else safe[: PRINTABLE_LONGEST - 1] + "…"


def in_quotes(text: str) -> str:
    """`text` as one word of a shell, in a command that a message prints: an operator types it as it is."""
    return "'" + text.replace("'", "'\\''") + "'"


def is_like(name: str, pattern: str) -> bool:
    """Whether a name matches as in SQL's LIKE, where `%` stands for any text; case is ignored."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("%"))), name, re.IGNORECASE) is not None


def check_host_name(name: str, appliances: Container[str] = ()) -> None:
    """UserError unless `name` is valid for a host; `appliances` are reserved names, in lower case."""
    if "." in name:
        raise UserError(
            f"Hostname {printable(name)} can not contains any dot. Give the name without its domain."
        )
    if _RACK_NUMBER.fullmatch(name):
        raise UserError(
            f"Hostname {printable(name)} can not be in the form of rack<number>. That selects a rack."
        )
    _check(_LABEL, _LABEL_MEANING, HOST_NAME_LONGEST, "Hostname", name)
    _check_selectable("Hostname", name)
    if name.lower() in appliances:
        raise UserError(
            f"Hostname {printable(name)} can not be equal to an appliance name. That selects the appliance's hosts."
        )


def check_new_host_name(name: str, appliances: Container[str] = ()) -> None:
    """As `check_host_name`; UserError also for a name that another program takes for something else."""
    check_host_name(name, appliances)
    if reason := misread(name):
        raise UserError(f"Hostname {printable(name)} is not valid: {reason}. Give the host another name.")


def misread(name: str, programs: Iterable[str] = tuple(_MISREAD)) -> str:
    """Which of these programs takes the name of a host for what, as part of a sentence; '' when none does."""
    found = {program: _MISREAD[program] for program in programs}
    return "; ".join(
        f"{program} takes it for {meaning}"
        for program, (pattern, meaning) in found.items()
        if pattern.fullmatch(name)
    )


def check_alias(name: str, appliances: Container[str] = ()) -> None:
    """UserError unless `name` is valid for an alias: labels, separated by dots, that do not look like an address."""
    labels = name.split(".")
    if (
        not all(_LABEL.fullmatch(label) for label in labels)
        or len(name) > ALIAS_LONGEST
        or misread(labels[-1], ["the resolver"])
    ):
        raise UserError(
            f'alias "{printable(name)}" is not valid: it must be at most {ALIAS_LONGEST} characters, '
            f"{_LABEL_MEANING}; dots may separate parts, but it must not look like an address"
        )
    _check_selectable("alias", name)
    if "localhost" in (labels[0].lower(), labels[-1].lower()):
        raise UserError(f'alias "{printable(name)}" is not valid: each machine takes it for itself')
    if name.lower() in appliances:
        raise UserError(f'alias "{printable(name)}" is the name of an appliance; it would hide its hosts')


def check_interface_name(name: str) -> None:
    """UserError unless `name` is valid for an interface: the name of a host on one network."""
    if "." in name:
        raise UserError(
            f'interface name "{printable(name)}" must not be a fully qualified domain name: leave the domain out, '
            "the network's zone is added to it"
        )
    _check(_LABEL, _LABEL_MEANING, HOST_NAME_LONGEST, "interface name", name)


def check_device(name: str) -> None:
    """UserError unless `name` is valid for a network device: `eth0`, `ib0.8001`, `eth0:1`."""
    _check(_DEVICE, "a letter, then letters, digits and . _ -", DEVICE_LONGEST, "interface", name)
    if name.lower() in _RESERVED_NAMES:
        raise UserError(
            f'interface "{printable(name)}" is not valid: that value clears a column; give a device such as eth0'
        )


def check_network_name(name: str) -> None:
    """UserError unless `name` is valid for a network."""
    _check(_LABEL, _LABEL_MEANING, 32, "network", name)
    if name.lower() in _RESERVED_NAMES | {"all"}:
        raise UserError(f'network "{printable(name)}" is not valid: the name has another meaning in commands')


def check_appliance_name(name: str) -> None:
    """UserError unless `name` is valid for an appliance; it becomes a selector and a prefix of hosts' names."""
    _check(_LABEL, _LABEL_MEANING, 32, "appliance", name)
    _check_selectable("appliance", name)
    if name.lower() == "default":
        raise UserError(
            f'appliance "{printable(name)}" is not valid: tentakel takes it for its group of all hosts'
        )


def check_membership_name(name: str) -> None:
    """UserError unless `name` is valid for a membership, such as `VM Container`."""
    _check(_PHRASE, _PHRASE_MEANING, 64, "membership", name)


def check_boot_action_name(name: str) -> None:
    """UserError unless `name` is valid for a boot action, such as `install vm frontend`."""
    _check(_PHRASE, _PHRASE_MEANING, 64, "action", name)
    if name.lower() in _RESERVED_NAMES:
        raise UserError(
            f'action "{printable(name)}" is not valid: that value means that a host has no action'
        )


def check_attribute_name(name: str) -> None:
    """UserError unless `name` is valid for an attribute; it becomes an XML entity."""
    _check(
        _ATTRIBUTE, "letters, digits and . _ -, the first a letter or an underscore", 128, "attribute", name
    )


def check_plain_name(what: str, text: str, longest: int = 128) -> None:
    """UserError unless `text` is a plain name, such as that of a driver; `what` is its kind, for the message."""
    _check(_PLAIN, _PLAIN_MEANING, longest, what, text)


def parse_place(name: str) -> tuple[str, int, int] | None:
    """(appliance, rack, rank) of a name such as `compute-0-1`; None for another form."""
    match = _NAME_OF_PLACE.fullmatch(name)
    return (match.group(1), int(match.group(2)), int(match.group(3))) if match else None


def _check(rule: re.Pattern[str], meaning: str, longest: int, what: str, name: str) -> None:
    if not rule.fullmatch(name) or len(name) > longest:
        raise UserError(
            f'{what} "{printable(name)}" is not valid: it must be 1 to {longest} characters, {meaning}'
        )


def _check_selectable(what: str, name: str) -> None:
    if name.lower().startswith("rack"):
        raise UserError(
            f'{what} "{printable(name)}" is not valid: a name that begins with rack always selects a rack'
        )
    if name.lower() in _RESERVED_NAMES:
        raise UserError(f'{what} "{printable(name)}" is not valid: the name has another meaning in commands')
