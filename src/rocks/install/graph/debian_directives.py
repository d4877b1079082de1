"""Lines of `main`, which are kickstart's, as answers to the questions of Debian 12's installer.

A line without a counterpart is an error that names its file and line; nothing is left out silently but what Debian's
installer does anyhow (`_IMPLIED`). Disks: `debian_partitions.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rocks.install.graph.debian_partitions import DISK_TAGS, disk_answers
from rocks.install.graph.installer_options import Options, no_counterpart, read_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.install.graph.records import Directive


class Answer(NamedTuple):
    """An answer to a question of the installer: its name, type and value."""

    question: str
    type: str
    value: str


_IMPLIED = {
    "install": "",
    "text": "",
    "graphical": "",
    "cmdline": "",
    "skipx": "",
    "eula": "--agreed",
    "firstboot": "--disable",
    "firewall": "--disabled",
    "selinux": "--disabled",
}
"""Tag → the text with which Debian's installer does what it says; empty: any text."""

_LOCALE = re.compile(r"[A-Za-z0-9_.@-]+", re.ASCII)


def preseed_answers(directives: Sequence[Directive]) -> list[Answer]:
    """The answers, in the order of the lines; those about disks last. StateError for a line without a counterpart."""
    answers: dict[str, Answer] = {}
    for directive in directives:
        if directive.tag in DISK_TAGS:
            continue
        for question, kind, value in _answers(directive):
            if answers.get(question, Answer(question, kind, value)).value != value:
                raise no_counterpart(directive, f"a second, different answer to {question}")
            answers[question] = Answer(question, kind, value)
    disks = disk_answers([one for one in directives if one.tag in DISK_TAGS])
    return [*answers.values(), *(Answer(*one) for one in disks)]


def _answers(directive: Directive) -> list[tuple[str, str, str]]:
    if directive.tag in _IMPLIED:
        meant = _IMPLIED[directive.tag]
        if meant and directive.text.strip() != meant:
            raise no_counterpart(directive, f"{directive.tag} other than {meant}")
        return []
    if directive.tag not in _MAPPED:
        raise no_counterpart(directive, directive.tag)
    flags, valued, answer = _MAPPED[directive.tag]
    return answer(read_options(directive, flags, valued))


def _lang(options: Options) -> list[tuple[str, str, str]]:
    return [("debian-installer/locale", "string", options.one_word(_LOCALE))]


def _keyboard(options: Options) -> list[tuple[str, str, str]]:
    layout = options.get("--xlayouts") or options.get("--vckeymap")
    return [("keyboard-configuration/xkb-keymap", "select", layout or options.one_word(_LOCALE))]


def _timezone(options: Options) -> list[tuple[str, str, str]]:
    utc = options.has("--utc") or options.has("--isUtc")
    return [
        ("time/zone", "string", options.one_word(re.compile(r"[A-Za-z0-9_+/-]+", re.ASCII))),
        ("clock-setup/utc", "boolean", "true" if utc else "false"),
        ("clock-setup/ntp", "boolean", "false" if options.has("--nontp") else "true"),
    ]


def _rootpw(options: Options) -> list[tuple[str, str, str]]:
    found = [("passwd/make-user", "boolean", "false")]
    if options.has("--lock"):
        # no password has the hash *, so sshd admits root by key only; at ! the installer asks for a password
        return [*found, ("passwd/root-password-crypted", "password", "*")]
    word = options.one_word(re.compile(r"[^\s\\]+"))
    if options.has("--iscrypted"):
        return [*found, ("passwd/root-password-crypted", "password", word)]
    return [
        *found,
        ("passwd/root-password", "password", word),
        ("passwd/root-password-again", "password", word),
    ]


def _url(options: Options) -> list[tuple[str, str, str]]:
    try:
        place = urlsplit(options.required("--url"))
    except ValueError:  # brackets without an IPv6 address in them
        place = urlsplit("")
    if place.scheme not in ("http", "https") or not place.hostname or place.query or place.username:
        raise no_counterpart(
            options.directive, "a mirror that is not http://HOST/FOLDER or https://HOST/FOLDER"
        )
    host = place.netloc
    return [
        ("mirror/country", "string", "manual"),
        ("mirror/protocol", "select", place.scheme),
        (f"mirror/{place.scheme}/hostname", "string", host),
        (f"mirror/{place.scheme}/directory", "string", place.path or "/"),
        (f"mirror/{place.scheme}/proxy", "string", options.get("--proxy")),
    ]


def _network(options: Options) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if options.get("--hostname"):
        found.append(("netcfg/hostname", "string", options.get("--hostname")))
    if options.get("--device"):
        found.append(("netcfg/choose_interface", "select", options.get("--device")))
    protocol = options.get("--bootproto") or ("static" if options.get("--ip") else "dhcp")
    if protocol == "static":
        found += [
            ("netcfg/disable_autoconfig", "boolean", "true"),
            ("netcfg/get_ipaddress", "string", options.required("--ip")),
            ("netcfg/get_netmask", "string", options.required("--netmask")),
            ("netcfg/get_gateway", "string", options.get("--gateway") or "none"),
            ("netcfg/get_nameservers", "string", options.get("--nameserver").replace(",", " ")),
            ("netcfg/confirm_static", "boolean", "true"),
        ]
    elif protocol != "dhcp":
        raise no_counterpart(options.directive, f"the protocol {protocol}")
    return found


def _bootloader(options: Options) -> list[tuple[str, str, str]]:
    if options.get("--location") not in ("", "mbr"):
        raise no_counterpart(options.directive, f"a boot loader in {options.get('--location')}")
    drive = options.get("--boot-drive").removeprefix("/dev/")
    return [
        ("grub-installer/only_debian", "boolean", "true"),
        *([("grub-installer/bootdev", "string", f"/dev/{drive}")] if drive else []),
        *(
            [("debian-installer/add-kernel-opts", "string", options.get("--append"))]
            if options.get("--append")
            else []
        ),
    ]


def _reboot(options: Options) -> list[tuple[str, str, str]]:
    return [("finish-install/reboot_in_progress", "note", "")]


def _poweroff(options: Options) -> list[tuple[str, str, str]]:
    return [*_reboot(options), ("debian-installer/exit/poweroff", "boolean", "true")]


def _halt(options: Options) -> list[tuple[str, str, str]]:
    return [*_reboot(options), ("debian-installer/exit/halt", "boolean", "true")]


_MAPPED: dict[str, tuple[str, str, Callable[[Options], list[tuple[str, str, str]]]]] = {
    "lang": ("", "", _lang),
    "keyboard": ("", "--xlayouts --vckeymap", _keyboard),
    "timezone": ("--utc --isUtc --nontp", "", _timezone),
    "rootpw": ("--lock --iscrypted --plaintext", "", _rootpw),
    "url": ("", "--url --proxy", _url),
    "network": (
        "--activate --noipv6",
        "--bootproto --device --ip --netmask --gateway --nameserver --hostname --onboot",
        _network,
    ),
    "bootloader": ("", "--location --boot-drive --append", _bootloader),
    "reboot": ("--eject", "", _reboot),
    "poweroff": ("", "", _poweroff),
    "shutdown": ("", "", _poweroff),
    "halt": ("", "", _halt),
}
"""Tag → its options without a value, its options with a value, and the function that gives the answers."""
