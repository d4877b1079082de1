"""The driver of clouds: EC2, CloudStack and OpenStack, by Apache Libcloud. User data of a machine is its vc-out.xml.

A cloud has the records: machines of ours are known by their names, `pragma-VC-DIGITS` and `vm-pragma-VC-DIGITS-0`, so
what a killed boot has left is listed and cleaned as any cluster. EC2 and OpenStack run a machine from its creation on,
and state its address only then: computes come first, for the frontend's vc-out.xml names theirs.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from rocks.core import dry_run
from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import HostError, StateError
from rocks.core.terminal import one_line

from .drivers import (
    DEFAULT_MEMORY_MB,
    Allocated,
    BootRequest,
    Machine,
    UnknownClusterError,
    check_supported,
    read_key,
)
from .repository import read_request
from .site import DRIVER, attributes
from .vc_in import FileDisk
from .vc_out import cloud_compute_text, cloud_frontend_text

if TYPE_CHECKING:
    from rocks.commands import Command

    from .site import Settings
    from .vc_in import Node

_URL, _USER, _SECRET = "pragma_cloud_url", "pragma_cloud_user", "pragma_cloud_secret"
_REGION, _PROJECT = "pragma_cloud_region", "pragma_cloud_project"
_NETWORK, _SIZES = "pragma_cloud_network", "pragma_cloud_sizes"
_NAME = re.compile(r"(?:vm-)?(pragma-[a-z0-9-]+-[0-9a-f]{8})(?:-([0-9]{1,6}))?")
_PACKAGES = "/usr/lib/python3/dist-packages"
"""Where Debian's python3-libcloud is, which the program rocks does not look into."""
_SECONDS = 900.0
"""Until a cloud has made, stopped or removed machines."""
_PAUSE_SECONDS = 2.0
_REPLY_SECONDS = 60
_MAX_USER_DATA_BYTES = 16384
"""EC2's limit; the others have 32 KiB and more."""
_STATES = {**dict.fromkeys(("stopped", "paused", "suspended", "error"), "nostate"), "unknown": "unknown"}
"""States of Libcloud that are not active."""


class Size(NamedTuple):
    """A size of machines that the site allows; `what` is Libcloud's."""

    name: str
    cpus: int
    memory_mb: int
    what: Any = None


def plan_sizes(sizes: Sequence[Size], cpus: int, memory_mb: int) -> list[tuple[Size, int]]:
    """(size, CPUs) of each compute: as few machines as can be, with equal shares. Pure. StateError as `choose_size`."""
    largest = max([1, *(size.cpus for size in sizes if size.memory_mb >= memory_mb)])
    count = -(-cpus // largest)
    shares = [cpus // count + (number < cpus % count) for number in range(count)]
    return [(choose_size(sizes, share, memory_mb), share) for share in shares]


def choose_size(sizes: Sequence[Size], cpus: int, memory_mb: int) -> Size:
    """The first size of the list with so many CPUs and so much memory. Pure. StateError when none has them."""
    for size in sizes:
        if size.cpus >= cpus and size.memory_mb >= memory_mb:
            return size
    raise StateError(
        f"no size of the attribute {_SIZES} ({' '.join(size.name for size in sizes)}) has {cpus} CPUs and "
        f"{memory_mb} MB; add one, or give less"
    )


class Cloud:
    """Clusters in an account of a cloud, of which the site has the key."""

    continuation = "rocks pragma shutdown"

    def __init__(self, command: Command, settings: Settings) -> None:
        self._command, self._settings, self._kind = command, settings, settings.driver
        self._values = attributes(command)
        self._engine = connect(
            self._kind, self._values, attributes(command, "list.sec_attr").get(_SECRET, "")
        )

    def allocate(self, request: BootRequest) -> Allocated:
        """Create computes, then the frontend. After an error, none is left unless the cloud does not answer."""
        check_supported(request, "the driver of clouds")
        key = read_key(request.key)
        described, _ = read_request(self._settings, request)
        own, compute = described.frontend, described.compute
        sizes, images, place = self._sizes(), self._images(), self._place()
        memory_mb = request.frontend_memory_mb or own.memory_mb or DEFAULT_MEMORY_MB
        own_size, own_image = choose_size(sizes, own.cpus or 1, memory_mb), _image(images, own)
        shares, image = [], None
        if request.cpus and compute is not None:
            memory_mb = request.compute_memory_mb or compute.memory_mb or DEFAULT_MEMORY_MB
            shares, image = plan_sizes(sizes, request.cpus, memory_mb), _image(images, compute)
        stem = re.sub(r"[^a-z0-9]+", "-", request.vc.lower()).strip("-")
        name = f"pragma-{stem}-{secrets.token_hex(4)}"
        longest = cloud_frontend_text(
            f"{name}.local", [("255.255.255.255", share) for _, share in shares], key
        )
        if len(longest.encode()) > _MAX_USER_DATA_BYTES:
            raise StateError(
                f"vc-out.xml would have {len(longest.encode())} bytes, and a cloud takes {_MAX_USER_DATA_BYTES}; "
                f"give fewer CPUs, or add a larger size to the attribute {_SIZES}"
            )
        self._command.db.commit()  # nobody waits for a transaction while the cloud works
        names = tuple(f"vm-{name}-{number}" for number in range(len(shares)))
        try:
            for number, (machine, (size, _)) in enumerate(zip(names, shares, strict=True)):
                text = cloud_compute_text(f"{name}.local", f"compute-{number}", key)
                self._create(machine, size, image, text, place)
            found = {node.name: node for node in self._wait(name, len(names), _has_address)}
            addresses = [(found[machine].private_ips or found[machine].public_ips)[0] for machine in names]
            nodes = [(address, cpus) for address, (_, cpus) in zip(addresses, shares, strict=True)]
            text = cloud_frontend_text(f"{name}.local", nodes, key)
            self._create(name, own_size, own_image, text, place)
            frontend = self._wait(name, len(names) + 1, _has_address)[0]
        except BaseException:
            with suppress(HostError):  # then `list cluster` has it
                self._destroy(name)
            raise
        address = (frontend.public_ips or frontend.private_ips)[0]
        return Allocated(name, f"{name}.local", address, names, described)

    def requested(self, name: str) -> list[str]:
        """None: requests are not known."""
        return []

    def start(self, cluster: Allocated, with_computes: bool) -> None:
        """Start those that are off, as CloudStack's are after their creation."""
        start = getattr(self._engine, "ex_start", None) or self._engine.start_node
        for node in self._machines().get(cluster.name, []):
            if _state(node) == "nostate" and (with_computes or node.name == cluster.name):
                _ask(start, node)

    def status(self, names: Sequence[str] = ()) -> list[Machine]:
        """As the cloud says; a frontend that is not there has no state."""
        known, found = self._machines(), []
        for name in names or sorted(known):
            if name not in known:
                raise UnknownClusterError(
                    f"there is no cluster {one_line(name)[:80]}; rocks pragma list cluster lists all"
                )
            if known[name][0].name != name:
                found.append(Machine(name, "", "nostate", ""))
            for node in known[name]:
                addresses = [*node.public_ips, *node.private_ips, ""]
                is_own = node.name == name
                found.append(
                    Machine(name, "" if is_own else node.name, _state(node), addresses[0] if is_own else "")
                )
        return found

    def shutdown(self, name: str) -> None:
        """Stop the machines, and return when they are off."""
        nodes = [node for node in self._machines().get(name, []) if _state(node) != "nostate"]
        stop = getattr(self._engine, "ex_stop", None) or self._engine.stop_node
        for node in nodes:
            if not dry_run.would(dry_run.HERE, f"stop {node.name} in the cloud"):
                _ask(stop, node)
        if not dry_run.is_on():
            self._wait(name, 0, lambda node: _state(node) == "nostate")

    def check_own(self, name: str, verb: str) -> None:
        """It knows no others."""

    def clean(self, name: str) -> None:
        """Remove the machines, the frontend at the end, and return when the cloud has them no more."""
        if not dry_run.would(dry_run.HERE, f"remove the machines of {name} in the cloud"):
            self._destroy(name)
            self._wait(name, 0, lambda _: False)

    def _destroy(self, name: str) -> None:
        for node in reversed(self._machines().get(name, [])):
            _ask(self._engine.destroy_node, node)

    def _create(self, name: str, size: Size, image: Any, text: str, place: dict[str, Any]) -> None:
        _ask(self._engine.create_node, name=name, size=size.what, image=image, ex_userdata=text, **place)

    def _machines(self) -> dict[str, list[Any]]:
        """Cluster → its machines in the cloud: the frontend, if it is there, and the computes in their order."""
        found: dict[str, list[tuple[int, Any]]] = {}
        for node in _ask(self._engine.list_nodes):
            match = _NAME.fullmatch(node.name or "")
            if match and str(node.state) != "terminated":
                found.setdefault(match[1], []).append((int(match[2] or -1), node))
        return {
            name: [node for _, node in sorted(nodes, key=lambda one: one[0])] for name, nodes in found.items()
        }

    def _wait(self, name: str, count: int, is_ready: Callable[[Any], bool]) -> list[Any]:
        """The machines of a cluster, when there are at least so many and all are ready. HostError after `_SECONDS`."""
        end = monotonic_seconds() + _SECONDS
        while True:
            nodes = self._machines().get(name, [])
            if len(nodes) >= count and all(map(is_ready, nodes)):
                return nodes
            if monotonic_seconds() >= end:
                raise HostError(
                    f"the cloud has not done what {name} needs in {_SECONDS:.0f} seconds; rocks pragma list cluster"
                )
            wait_seconds(_PAUSE_SECONDS)

    def _sizes(self) -> list[Size]:
        listed = {size.name: size for size in _ask(self._engine.list_sizes)}
        listed |= {size.id: size for size in listed.values()}
        found = []
        for name in self._values.get(_SIZES, "").split():
            if name not in listed:
                raise StateError(
                    f"the cloud has no size {one_line(name)[:80]}, which the attribute {_SIZES} names"
                )
            size = listed[name]
            cpus = getattr(size, "vcpus", 0) or size.extra.get("vcpu") or size.extra.get("cpu") or 0
            found.append(Size(name, int(cpus), int(size.ram or 0), size))
        if not found:
            raise StateError(f"no size of machines is allowed; rocks set attr {_SIZES} 'NAME NAME …'")
        return found

    def _images(self) -> list[Any]:
        own = {"ex_owner": "self"} if self._kind == "ec2" else {}
        return list(_ask(self._engine.list_images, **own))

    def _place(self) -> dict[str, Any]:
        """The network of machines, and CloudStack's zone; what is not stated, the cloud chooses."""
        place: dict[str, Any] = {}
        if self._values.get(_NETWORK) and self._kind == "ec2":
            place["ex_subnet"] = self._named(_NETWORK, self._engine.ex_list_subnets)
        elif self._values.get(_NETWORK):
            place["networks"] = [self._named(_NETWORK, self._engine.ex_list_networks)]
        if self._values.get(_REGION) and self._kind == "cloudstack":
            place["location"] = self._named(_REGION, self._engine.list_locations)
        return place

    def _named(self, attribute: str, listing: Callable[[], Any]) -> Any:
        value = self._values[attribute]
        found = [one for one in _ask(listing) if value in (one.id, one.name)]
        if len(found) != 1:
            raise StateError(
                f"the cloud has {len(found)} of {one_line(value)[:80]}, which the attribute {attribute} names, not one"
            )
        return found[0]


def connect(kind: str, values: dict[str, str], secret: str) -> Any:
    """Libcloud's driver of an account. StateError for an attribute that is not valid, and without Libcloud."""
    if not values.get(_USER) or not secret:
        raise StateError(
            f"the key of the cloud is not set: rocks set attr {_USER} USER; rocks set sec_attr {_SECRET}"
        )
    url, region = values.get(_URL, ""), values.get(_REGION, "")
    parts = urlsplit(url)
    is_safe = parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost")  # a password is sent
    if (url or kind != "ec2") and not (is_safe and parts.hostname):
        raise StateError(
            f"the attribute {_URL} is {one_line(url)[:100]!r}; rocks set attr {_URL} https://HOST/PATH"
        )
    named: dict[str, Any] = {"timeout": _REPLY_SECONDS}
    if kind == "ec2":
        named |= {"region": region or "us-east-1", "signature_version": "4"}
    if kind == "ec2" and url:
        named |= {"host": parts.hostname, "port": parts.port or 443, "secure": parts.scheme == "https"}
    if kind == "cloudstack":
        named["url"] = url
    if kind == "openstack":
        named |= {"ex_force_auth_url": url, "ex_force_auth_version": "3.x_password"}
        named |= {"ex_tenant_name": values.get(_PROJECT), "ex_force_service_region": region or None}
    return _ask(_library().get_driver(kind), values[_USER], secret, **named)


def _library() -> Any:
    os.environ.pop("LIBCLOUD_DEBUG", None)  # it would write requests with their secrets into a file
    if _PACKAGES not in sys.path:
        sys.path.append(_PACKAGES)
    try:
        return import_module("libcloud.compute.providers")
    except ImportError as error:
        raise StateError(
            f"the attribute {DRIVER} names a cloud, which needs Apache Libcloud ({one_line(str(error))[:100]}); "
            "apt-get install python3-libcloud"
        ) from None


def _ask(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call Libcloud. HostError for what it raises: bare exceptions, those of requests, and those of its parsers."""
    try:
        with dry_run.reading():
            return function(*arguments, **named)
    except Exception as error:
        secret = str(getattr(getattr(function, "__self__", None), "secret", ""))
        text = one_line(_without(secret, str(error) or type(error).__name__))[:300]
        raise HostError(f"the cloud has not done {getattr(function, '__name__', 'it')}: {text}") from None


def _without(secret: str, text: str) -> str:
    """The text without the secret, and without backslashes: a server may repeat a sign-in, in JSON or JSON in JSON."""
    text = text.replace("\\", "")
    for form in filter(None, (secret, json.dumps(secret)[1:-1])):
        text = text.replace(form.replace("\\", ""), "…")
    return text


def _image(images: Sequence[Any], node: Node) -> Any:
    """The image of the cloud with the name of the node's file, without its ending, or of its volume."""
    name = PurePosixPath(node.disk.file).stem if isinstance(node.disk, FileDisk) else node.disk.volume
    found = [image for image in images if image.name == name]
    if len(found) != 1:
        raise StateError(
            f"the cloud has {len(found)} images {one_line(name)[:80]}, not one; import the image of vc-in.xml there"
        )
    return found[0]


def _has_address(node: Any) -> bool:
    if str(node.state) == "error":
        raise HostError(f"the cloud cannot run {one_line(node.name)[:80]}")
    # the public one of EC2 follows when the machine runs
    return str(node.state) != "pending" and bool(node.private_ips or node.public_ips)


def _state(node: Any) -> str:
    return _STATES.get(str(node.state), "active")
