"""Parses and checks what the other side of a connection sent: it may be broken or hostile.

The codec checks types. This module bounds what types leave open: numbers, lengths, counts, characters, and whether a
reply answers its request.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

from rocks.core.errors import IncoherentError
from rocks.fleet.wire.codec import Request
from rocks.fleet.wire.facts import (
    EPOCH_TOKENS,
    MAX_EPOCHS,
    AdapterFacts,
    AdaptersRequest,
    DocumentsFact,
    DocumentsRequest,
    FactsRequest,
    HostFacts,
    ShapeFact,
)
from rocks.fleet.wire.requests import (
    InfinibandFacts,
    InfinibandRequest,
    PerformReply,
    PerformRequest,
    PortFact,
)

MAX_VALUES = 500_000
LONGEST_TEXT = 1024 * 1024
LONGEST_NAME = 255
LONGEST_PATH = 4096
LONGEST_ADAPTER = 64
"""Name of an InfiniBand adapter, in the kernel (IB_DEVICE_NAME_MAX) and in the database."""
MAX_PORTS = 254
"""Highest number of a port of an InfiniBand adapter."""
_MAX_DIGITS = 19
_MAX_CPUS = 65536

_NAMES = frozenset(
    (
        "name",
        "uuid",
        "kernel",
        "machine",
        "domain",
        "mac",
        "device",
        "source",
        "address",
        "user",
        "guid",
    )
    + ("state", "family", "code", "fenced", "machine_type", "system", "qemu", "libvirt", "libvirt_installed")
)
"""Fields that are names or the like: printable, and not longer than `LONGEST_NAME`."""
_PATHS = frozenset(("path", "folder", "log_path"))
_COUNTS = frozenset(
    (
        "memory_mb",
        "cpus",
        "size_bytes",
        "filesystem_bytes",
        "free_bytes",
        "received_bytes",
        "sent_bytes",
        "frames",
    )
    + ("number", "vlan", "most", "token", "keys", "epoch", "used_bytes")
)
"""Numbers that are never negative."""
_ADAPTER, _GUID = re.compile(r"[A-Za-z0-9._-]+"), re.compile(r"[0-9a-f]{16}")
_BELOW = {"epoch": MAX_EPOCHS, "token": MAX_EPOCHS * EPOCH_TOKENS, "memory_mb": 2**32}
"""Number → the bound that it stays below."""


def parse_json(text: str) -> Any:
    """The JSON value. ValueError for text that is not JSON, and for what JSON allows but no side of ours writes.

    That is NaN, infinite and very large numbers, two values under one key, lone surrogates in texts, very long
    texts and very many values; RecursionError becomes ValueError, too.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded_integer,
            object_pairs_hook=_without_duplicates,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_values(value)
    return value


def check_reply(request: Request[Any], reply: Any) -> None:
    """IncoherentError unless names and numbers of a reply are possible and it answers the request."""
    for place, value in _fields("reply.result", reply):
        _check_field(place, place.rpartition(".")[2].partition("[")[0], value)
    if isinstance(request, FactsRequest) and isinstance(reply, HostFacts):
        _check_same("disks", request.disks, [disk.path for disk in reply.disks])
        _check_known("fenced", {fence.name for fence in request.fences}, reply.fenced)
        _check_unique("domains", [domain.name for domain in reply.domains])
        if reply.shape is not None:
            _check_shape(reply.shape)
    elif isinstance(request, PerformRequest) and isinstance(reply, PerformReply):
        _check_known("fenced", {fence.name for fence in request.fences}, reply.fenced)
        # a name may have several operations, each with its outcome
        if [operation.name for operation in request.operations] != [o.name for o in reply.outcomes]:
            raise IncoherentError(
                "field reply.result.outcomes: not one outcome for each operation, in their order"
            )
    elif isinstance(request, AdaptersRequest) and isinstance(reply, AdapterFacts):
        _check_same("adapters", [a.device for a in request.adapters], [a.device for a in reply.adapters])
    elif isinstance(request, DocumentsRequest) and isinstance(reply, DocumentsFact):
        asked, answered = len(request.documents), len(reply.documents)
        if asked != answered:
            raise IncoherentError(f"field reply.result.documents: {answered} for the {asked} of the request")
    elif isinstance(request, InfinibandRequest) and isinstance(reply, InfinibandFacts):
        for port in reply.ports:
            _check_port(port)
        _check_unique("ports", [f"{port.device.lower()} port {port.number}" for port in reply.ports])


def _check_shape(shape: ShapeFact) -> None:
    """IncoherentError for cores that no host has: they are leased, a CPU to one machine."""
    cores = [core for node in shape.nodes for core in node.cores]
    numbers = {"CPU": [cpu for core in cores for cpu in core], "node": [node.number for node in shape.nodes]}
    problem = "" if all(cores) else "a core without a CPU"
    for what, found in numbers.items():
        for number, count in Counter(found).items():
            if not 0 <= number < _MAX_CPUS:
                problem = f"{number} is no number of a CPU or node"
            elif count > 1:
                problem = f"the {what} {number} twice"
    if problem:
        raise IncoherentError(f"field reply.result.shape: {problem}")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _bounded_integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError("a number is too large")
    return int(text)


def _without_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has two values under one key")
    return found


def _check_values(value: Any) -> None:
    """As `parse_json`, for the contents of the texts and their number; without recursion."""
    remaining, count = [value], 0
    while remaining:
        item = remaining.pop()
        count += 1
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict):
            remaining.extend(item)
            remaining.extend(item.values())
        elif isinstance(item, list):
            remaining.extend(item)
        if count + len(remaining) > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")


def _check_text(text: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a text is longer than {LONGEST_TEXT} characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a text contains half of a surrogate pair") from None


def _fields(place: str, value: Any) -> Iterator[Tuple[str, Any]]:
    """(place, plain value) of a shape and all below it."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _fields(f"{place}.{field.name}", getattr(value, field.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _fields(f"{place}[{index}]", item)
    else:
        yield place, value


def _check_field(place: str, name: str, value: Any) -> None:
    if isinstance(value, str) and name in (_NAMES | _PATHS):
        longest = LONGEST_PATH if name in _PATHS else LONGEST_NAME
        if len(value) > longest or not value.isprintable():
            raise IncoherentError(f"field {place}: not a name: {ascii(value[:80])}")
    elif isinstance(value, int) and not isinstance(value, bool) and name in _COUNTS and value < 0:
        raise IncoherentError(f"field {place}: {value} is below 0")
    elif isinstance(value, int) and value >= _BELOW.get(name, value + 1):
        raise IncoherentError(f"field {place}: {value} is too large")


def _check_port(port: PortFact) -> None:
    if len(port.device) > LONGEST_ADAPTER or not _ADAPTER.fullmatch(port.device):
        raise IncoherentError(f"field reply.result.ports: no adapter: {ascii(port.device[:80])}")
    if not 1 <= port.number <= MAX_PORTS:
        raise IncoherentError(f"field reply.result.ports: {port.number} is no port of an adapter")
    if not _GUID.fullmatch(port.guid):
        raise IncoherentError(f"field reply.result.ports: not a GUID: {ascii(port.guid[:80])}")


def _check_same(what: str, asked: Sequence[str], answered: Sequence[str]) -> None:
    _check_unique(what, answered)
    _check_known(what, set(asked), answered)
    missing = [name for name in asked if name not in set(answered)]
    if missing:
        raise IncoherentError(f"field reply.result.{what}: nothing about {ascii(missing[0][:80])}")


def _check_known(what: str, asked: Iterable[str], answered: Sequence[str]) -> None:
    known = set(asked)
    for name in answered:
        if name not in known:
            raise IncoherentError(f"field reply.result.{what}: {ascii(name[:80])} was not asked for")


def _check_unique(what: str, names: Sequence[str]) -> None:
    found = set()
    for name in names:
        if name in found:
            raise IncoherentError(f"field reply.result.{what}: {ascii(name[:80])} twice")
        found.add(name)
