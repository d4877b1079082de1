"""A profile as a preseed file for the installer of Debian 12, whose answers are made of kickstart's lines of `main`."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rocks.core.errors import StateError
from rocks.install.graph.document import File, When
from rocks.install.graph.kickstart import check_section_options, order_comment
from rocks.install.graph.profile import package_names
from rocks.install.graph.shell import first_boot_commands, packed, section_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.install.graph.document import Directive, Section
    from rocks.install.graph.profile import Profile
    from rocks.install.graph.shell import FirstBootFiles


# The options in a line of `main`, for an installer that has only some of them.


class Options(NamedTuple):
    """The options of a line and its other arguments."""

    directive: Directive
    given: Mapping[str, str]
    arguments: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether an option is given."""
        return name in self.given

    def get(self, name: str) -> str:
        """The value of an option, or ''."""
        return self.given.get(name, "")

    def required(self, name: str) -> str:
        """The value of an option; StateError when it is not given."""
        if not self.get(name):
            raise StateError(f"{self.directive.place}: <{self.directive.tag}> needs {name}=")
        return self.get(name)

    def one_word(self, pattern: re.Pattern[str]) -> str:
        """The only word besides the options. StateError when there are none or several, or it does not match."""
        if len(self.arguments) != 1 or not pattern.fullmatch(self.arguments[0]):
            raise StateError(
                f"{self.directive.place}: <{self.directive.tag}> needs exactly one value besides its options"
            )
        return self.arguments[0]


def read_options(directive: Directive, flags: str, valued: str) -> Options:
    """The options of a line, of which `flags` have no value and `valued` have one. StateError for others."""
    try:
        texts = shlex.split(directive.text, comments=True)
    except ValueError:
        raise StateError(f"{directive.place}: the text of <{directive.tag}> has an open quote") from None
    given: dict[str, str] = {}
    arguments: list[str] = []
    waiting = iter(texts)
    for text in waiting:
        name, equals, value = text.partition("=")
        if not name.startswith("--"):
            arguments.append(text)
        elif name in flags.split() and not equals:
            given[name] = ""
        elif name in valued.split():
            given[name] = value if equals else next(waiting, "")
        else:
            raise no_counterpart(directive, f"{name} of {directive.tag}")
    for text in (*given.values(), *arguments):
        if not text.isprintable() or text.endswith("\\"):
            raise StateError(f"{directive.place}: {text!r} cannot be an answer for Debian's installer")
    return Options(directive, given, tuple(arguments))


def no_counterpart(directive: Directive, what: str) -> StateError:
    """The error for a line that another installer has, and Debian's has not."""
    return StateError(
        f"{directive.place}: Debian's installer has nothing for {what}; limit the tag <{directive.tag}> with "
        "cond=\"packaging == 'rpm'\", or remove it"
    )


# Lines of `main` about disks, as answers for Debian's partitioner: one whole disk, which the lines must name.


DISK_TAGS = frozenset(("clearpart", "zerombr", "ignoredisk", "autopart", "part", "partition"))

_DISK = re.compile(r"(/dev/)?[A-Za-z0-9][A-Za-z0-9_.:+@/-]*", re.ASCII)
_MOUNT_POINT = re.compile(r"/[A-Za-z0-9_./-]*", re.ASCII)
_FILE_SYSTEMS = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "efi"))
_UNLIMITED = -1
_PRIORITY = 1000

Line = tuple[str, str, str]


def disk_answers(directives: Sequence[Directive]) -> list[Line]:
    """(question, type, value) for all lines about disks; [] without such lines.

    StateError unless they erase exactly one named disk and partition it.
    """
    read = [_read(one) for one in directives]
    parts = [one for one in read if one.directive.tag in ("part", "partition")]
    automatic = [one for one in read if one.directive.tag == "autopart"]
    if not parts and not automatic:
        if any(one.directive.tag == "clearpart" for one in read):
            clear = next(one for one in read if one.directive.tag == "clearpart")
            raise no_counterpart(clear.directive, "clearpart without part or autopart")
        return []
    first = (parts or automatic)[0].directive
    if parts and automatic:
        raise StateError(f"{first.place}: <part> and <autopart> exclude each other")
    if not any(one.directive.tag == "clearpart" and one.has("--all") for one in read):
        raise no_counterpart(first, "partitions without clearpart --all: it takes a whole disk")
    found: list[Line] = [
        ("partman-auto/disk", "string", _disk(read, first)),
        ("partman-auto/method", "string", "regular"),
    ]
    if parts:
        recipe = " ".join(_partition(one) for one in parts)
        found += [
            ("partman-auto/expert_recipe", "string", f"rocks :: {recipe}"),
            ("partman-auto/choose_recipe", "select", "rocks"),
        ]
    else:
        found.append(("partman-auto/choose_recipe", "select", "atomic"))
    return [
        *found,
        ("partman-lvm/device_remove_lvm", "boolean", "true"),
        ("partman-md/device_remove_md", "boolean", "true"),
        ("partman-partitioning/confirm_write_new_label", "boolean", "true"),
        ("partman/choose_partition", "select", "finish"),
        ("partman/confirm", "boolean", "true"),
        ("partman/confirm_nooverwrite", "boolean", "true"),
    ]


def _read(directive: Directive) -> Options:
    match directive.tag:
        case "clearpart":
            options = read_options(directive, "--all --initlabel", "--drives --disklabel")
            if not options.has("--all"):
                raise no_counterpart(directive, "clearpart without --all: it takes a whole disk")
            return options
        case "ignoredisk":
            return read_options(directive, "", "--only-use")
        case "autopart":
            options = read_options(directive, "--nohome", "--type --fstype")
            if options.get("--type") not in ("", "plain"):
                raise no_counterpart(directive, f"autopart --type={options.get('--type')}")
            return options
        case "zerombr":
            return read_options(directive, "", "")
        case _:
            flags = "--grow --asprimary --recommended"
            return read_options(directive, flags, "--size --maxsize --fstype --ondisk --ondrive --label")


def _disk(read: Sequence[Options], first: Directive) -> str:
    """The one disk that the lines name."""
    names: dict[str, Directive] = {}
    for options in read:
        for name in ("--drives", "--only-use", "--ondisk", "--ondrive"):
            for text in options.get(name).split(","):
                if text.strip():
                    names["/dev/" + text.strip().removeprefix("/dev/")] = options.directive
    if not names:
        raise StateError(
            f"{first.place}: Debian's installer must know which disk it erases: "
            "<clearpart>--all --drives=sda</clearpart>"
        )
    if len(names) > 1:
        other = list(names)[1]
        raise no_counterpart(names[other], f"a second disk ({', '.join(names)})")
    (name,) = names
    if not _DISK.fullmatch(name) or ".." in name:
        raise StateError(f"{names[name].place}: {name} is not a disk")
    return name


def _partition(options: Options) -> str:
    """A partition in the language of partman-auto: sizes in MB, and what is in it."""
    directive = options.directive
    place = options.one_word(re.compile(r".*"))
    kind = options.get("--fstype") or "ext4"
    size = _sizes(options)
    label = f"label{{ {options.get('--label')} }} " if options.get("--label") else ""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", options.get("--label"), re.ASCII):
        raise StateError(f"{directive.place}: {options.get('--label')!r} is not a label of a file system")
    primary = "$primary{ } " if options.has("--asprimary") else ""
    if place == "swap":
        return f"{size} linux-swap {primary}method{{ swap }} format{{ }} ."
    if place == "biosboot" or kind == "biosboot":
        return f"{size} free $bios_boot{{ }} method{{ biosgrub }} ."
    if not _MOUNT_POINT.fullmatch(place) or ".." in place:
        raise no_counterpart(directive, f"a partition for {place}")
    if kind not in _FILE_SYSTEMS:
        raise no_counterpart(directive, f"the file system {kind}")
    if kind == "efi":
        return f"{size} free $iflabel{{ gpt }} method{{ efi }} format{{ }} ."
    kind = "fat32" if kind == "vfat" else kind
    return (
        f"{size} {kind} {primary}{label}method{{ format }} format{{ }} use_filesystem{{ }} "
        f"filesystem{{ {kind} }} mountpoint{{ {place} }} ."
    )


def _sizes(options: Options) -> str:
    """`MINIMUM PRIORITY MAXIMUM`, in MB."""
    if options.has("--recommended"):
        if options.arguments != ("swap",):
            raise no_counterpart(options.directive, "--recommended of part, except for swap")
        return "100% 512 200%"
    smallest = _megabytes(options, "--size", options.required("--size"))
    if not options.has("--grow"):
        return f"{smallest} {_PRIORITY + smallest} {smallest}"
    largest = (
        _megabytes(options, "--maxsize", options.get("--maxsize")) if options.get("--maxsize") else _UNLIMITED
    )
    return f"{smallest} {_PRIORITY + smallest} {largest}"


def _megabytes(options: Options, name: str, text: str) -> int:
    """Kickstart's MiB as partman's MB, rounded up."""
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise StateError(f"{options.directive.place}: {name} is a number of MiB, not {text!r}")
    return -(-int(text) * 1024 * 1024 // 1_000_000)


# Lines of `main`, which are kickstart's, as answers to the questions of Debian 12's installer.
#
# A line without a counterpart is an error that names its file and line; nothing is left out silently but what Debian's
# installer does anyhow (`_IMPLIED`).


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


# A profile as a preseed file for the installer of Debian 12.
#
# Lines of `main` are answers to the installer's questions. Sections `pre` are the early command, for the installer's
# own `sh`. All other sections are one script, which the installed system executes at its first boot; the late command
# leaves it there. Source: Debian.


LONGEST_COMMAND = 120_000
"""Characters of a command of the installer; it is one argument of a program, of which Linux allows 131072 bytes."""

DISTRIBUTION_NODE = "distribution"
"""The node that writes the site's distribution into the sources of packages."""

_SH = (("sh",), ("/bin/sh",))


def preseed_file(profile: Profile, script: str, files: FirstBootFiles) -> str:
    """The preseed file. `script` is the profile for the installed system, and `files` execute it there.

    StateError, with file and line, for a line of `main` that Debian's installer has no question for, and for a section
    that it cannot execute.
    """
    directives = [one for node in profile.nodes for one in node.directives]
    answers = [
        *preseed_answers(directives),
        Answer("pkgsel/run_tasksel", "boolean", "false"),
        Answer("pkgsel/include", "string", " ".join(_packages(profile))),
        *_early_command([section for node in profile.nodes for section in node.sections]),
        _late_command(script, files, profile.host),
    ]
    lines = [f"# {line}" for line in order_comment(profile)]
    return (
        "\n".join([*lines, *(f"d-i {one.question} {one.type} {one.value}".rstrip() for one in answers)])
        + "\n"
    )


def _packages(profile: Profile) -> list[str]:
    """The packages that the installer installs; none for a host that gets them from the site's distribution, of which
    only its profile knows.
    """
    if any(node.name == DISTRIBUTION_NODE for node in profile.nodes):
        return []
    return package_names(profile.nodes, "deb")


def _early_command(sections: Iterable[Section]) -> list[Answer]:
    commands: list[str] = []
    for section in sections:
        if section.when is When.PRE:
            check_section_options(section)
            if section.interpreter not in _SH or any(isinstance(part, File) for part in section.parts):
                raise StateError(
                    f"{section.place}: Debian's installer has no bash: a section that runs in it has "
                    'interpreter="/bin/sh" and no file; limit others with cond="packaging == \'rpm\'"'
                )
            path = f"/tmp/rocks-pre-{len(commands) + 1}"
            commands.append(f"printf %b {_escaped(section_text(section))} >{path} && sh {path}")
        elif section.is_for_installer:
            raise StateError(
                f"{section.place}: Debian's installer has no sections --nochroot; limit this one with "
                "cond=\"packaging == 'rpm'\""
            )
    return (
        [Answer("preseed/early_command", "string", _bounded(" && ".join(commands), "early"))]
        if commands
        else []
    )


def _late_command(script: str, files: FirstBootFiles, host: str) -> Answer:
    commands = packed(first_boot_commands(script, files))
    unpack = "base64 -d | gzip -dc | /bin/sh"
    command = f"printf %s {commands} | chroot /target /bin/sh -c {shlex.quote(unpack)}"
    return Answer("preseed/late_command", "string", _bounded(command, "late", host))


def _bounded(command: str, name: str, host: str = "") -> str:
    if len(command) > LONGEST_COMMAND:
        raise StateError(
            f"the {name} command{f' of host {host}' if host else ''} has {len(command)} characters, and Debian's "
            f"installer takes {LONGEST_COMMAND}: put long files of node files into a package"
        )
    return command


def _escaped(text: str) -> str:
    """The text in one line, as the argument of `printf %b`."""
    replaced = text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\0047").replace("\r", "\\r")
    return f"'{replaced}'"
