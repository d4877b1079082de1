"""Lines of `main` about disks, as answers for Debian's partitioner: one whole disk, which the lines must name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.installer_options import Options, no_counterpart, read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.install.graph.records import Directive

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
