"""Values of attributes that shape virtual machines for HPC: CPUs, huge pages, queues, PCI devices. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import read_number

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE_SIZES_KB = {"2M": 2048, "1G": 1024 * 1024}
"""Sizes of huge pages on x86-64, as attributes name them, in KiB."""

PINNED = ("pin_all", "numa")
"""Values of `kvm_cpu_pinning` with which a machine has whole cores of its own."""

WATCHDOG_ACTIONS = ("reset", "poweroff", "shutdown", "pause", "none", "dump", "inject-nmi")
"""libvirt's names of what happens when a guest no longer serves its watchdog."""

LIBVIRT_CPU_MODES = ("host-passthrough", "host-model", "maximum", "custom")
MAX_QUEUES = 256
"""The kernel's maximum for a tap device."""

MAX_IOTHREADS = 64
MAX_CPU = 8191
"""The highest number of a CPU in Linux for x86-64."""

MAX_NODE = 1023
MAX_PAGES = 99_999_999
MAX_DEVICES = 32

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.ASCII)
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)


class PageReserve(NamedTuple):
    """Huge pages of one size that a host reserves at its boot; `node` None: spread over its NUMA nodes."""

    size: str
    pages: int
    node: int | None


def read_cpu_set(text: str) -> frozenset[int]:
    """The CPUs in a list as Linux and libvirt write it: 0-3,8,^2. UserError for another text."""
    found: set[int] = set()
    without: set[int] = set()
    for part in text.split(","):
        is_excluded = part.strip().startswith("^")
        first, dash, last = part.strip().removeprefix("^").partition("-")
        lowest = read_number("a CPU", first.strip(), 0, MAX_CPU)
        highest = read_number("a CPU", last.strip(), lowest, MAX_CPU) if dash else lowest
        (without if is_excluded else found).update(range(lowest, highest + 1))
    return frozenset(found - without)


def write_cpu_set(cpus: Iterable[int]) -> str:
    """As `read_cpu_set` reads it, in order, with ranges."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_page_reserve(text: str) -> tuple[PageReserve, ...]:
    """Parts SIZE:NUMBER or SIZE:NUMBER@NODE, separated by blanks: `2M:1024 1G:8@1`. UserError for another text."""
    found = []
    for part in text.split():
        size, _, rest = part.partition(":")
        count, at, node = rest.partition("@")
        if size not in PAGE_SIZES_KB or not count:
            raise UserError(
                f'"{printable(part)}" is not SIZE:NUMBER or SIZE:NUMBER@NODE with the size 2M or 1G: 2M:1024 1G:8@1'
            )
        number = read_number("the number of pages", count, 0, MAX_PAGES)
        found.append(
            PageReserve(size, number, read_number("the NUMA node", node, 0, MAX_NODE) if at else None)
        )
    places = [(one.size, one.node) for one in found]
    if len(set(places)) < len(places) or any(
        (size, None) in places and node is not None for size, node in places
    ):
        raise UserError("it names the pages of a size twice")
    return tuple(found)


def read_pci_address(text: str) -> str:
    """A PCI address with its domain: 0000:3b:00.0. UserError for another text."""
    address = text.strip().lower()
    if not _ADDRESS.fullmatch(address):
        raise UserError(f'"{printable(text)}" is not a PCI address such as 0000:3b:00.0')
    return address if address.count(":") == 2 else f"0000:{address}"


def read_pci_pools(text: str) -> dict[str, tuple[str, ...]]:
    """Pool → addresses, from `gpu:0000:3b:00.0,0000:d8:00.0 nvme:0000:5e:00.0`. UserError for another text."""
    pools: dict[str, tuple[str, ...]] = {}
    for part in text.split():
        name, _, addresses = part.partition(":")
        pools[_new_pool(name, pools)] = tuple(read_pci_address(address) for address in addresses.split(","))
    given = [address for addresses in pools.values() for address in addresses]
    for address in given:
        if given.count(address) > 1:
            raise UserError(f"it names the device {address} twice")
    return pools


def read_pci_requests(text: str) -> dict[str, int]:
    """Pool → number of devices, from `gpu:2 nvme` (one, without a number). UserError for another text."""
    requests: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, colon, number = part.partition(":")
        requests[_new_pool(name, requests)] = (
            read_number("the number of devices", number, 1, MAX_DEVICES) if colon else 1
        )
    return requests


def is_cpu_model(text: str) -> bool:
    """Whether the text has the form of the name of a CPU model."""
    return bool(_MODEL.fullmatch(text))


def check_cpu_mode(text: str) -> None:
    """UserError unless the text is a CPU mode of libvirt, with or without inner XML, or the name of a CPU model."""
    if text.partition(":")[0] in LIBVIRT_CPU_MODES or is_cpu_model(text):
        return
    raise UserError(
        "it must be host-passthrough, host-model, the name of a CPU model (virsh cpu-models x86_64 lists them), or "
        "MODE:INNER-XML"
    )


def check_queues(text: str) -> None:
    """UserError unless the text is `cpus` or a number of queues."""
    if text != "cpus":
        read_number("the number of queues", text, 1, MAX_QUEUES)


def _new_pool(name: str, others: Iterable[str]) -> str:
    if not _POOL.fullmatch(name):
        raise UserError(
            f'"{printable(name)}" is not a name of a pool of PCI devices: letters, digits, - and _'
        )
    if name.lower() in (other.lower() for other in others):
        raise UserError(f"it names the pool {name} twice")
    return name
