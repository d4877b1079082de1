"""Domains in memory (`DomainDriver`); the contract tests run on it and on libvirt."""

from __future__ import annotations

import copy
import os
import threading
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError, ToolError
from rocks.core.image_blocks import copy_content
from rocks.core.values import KIB_PER_MB
from rocks.fleet.wire.facts import ConsoleFact, DomainFact, DomainState
from rocks.machine.host.libvirt.domain_xml import LEASE, DomainDocument, mac_of, parse_domain
from rocks.machine.host.libvirt.driver import LiveWay, Versions


@dataclass(frozen=True)
class _Domain:
    document: DomainDocument
    uuid: str
    state: DomainState = "shutoff"
    autostart: bool = False
    has_managed_save: bool = False
    is_stopped_by_disk: bool = False
    is_persistent: bool = True


class FakeDomains:
    """A libvirt whose guests ignore the power button unless `guests_obey`, and release devices if `guests_release`.

    `refusals` maps a method name to the message with which it fails once. `picture` is on every screen.
    What is not documented here is in `DomainDriver`.
    """

    def __init__(self) -> None:
        self.guests_obey = False
        self.guests_release = True
        self.refusals: dict[str, str] = {}
        self.picture = b"\x89PNG\r\n\x1a\n"
        self._domains: dict[str, _Domain] = {}
        self._lock = threading.RLock()

    def facts(self) -> tuple[DomainFact, ...]:
        with self._lock:
            return tuple(self._fact(self._domains[name]) for name in sorted(self._domains))

    def facts_for_start(self, name: str) -> tuple[DomainFact, ...]:
        return self.facts()

    def versions(self) -> Versions:
        return Versions("7.2.22", "9.0.0", "9.0.0")

    def find(self, name: str) -> DomainFact | None:
        with self._lock:
            domain = self._domains.get(name)
            return None if domain is None else self._fact(domain)

    def console(self, name: str) -> ConsoleFact:
        with self._lock:
            domain = self._existing(name)
            is_up = domain.state != "shutoff"
            graphics = domain.document.root.find("devices/graphics[@type='vnc']")
            is_socket = graphics is not None and graphics.find("listen[@type='socket']") is not None
            return ConsoleFact(
                log_path=domain.document.console.log_path,
                vnc_socket=f"/var/lib/libvirt/qemu/domain-1-{name}/vnc.sock" if is_socket and is_up else None,
            )

    def screenshot(self, name: str, max_bytes: int) -> bytes:
        """As `DomainDriver.screenshot`: `picture`."""
        with self._step("take a picture of the screen"):
            if self._active(name, "take a picture of").document.root.find("devices/graphics") is None:
                raise ToolError(
                    f"libvirt on this host did not take a picture of the screen of {name}: no screen"
                )
            return self.picture[: max_bytes + 1]

    def define(self, xml: str) -> None:
        with self._step("define"):
            try:
                document = parse_domain(xml)
            except RocksError as error:
                raise ToolError(f"libvirt on this host did not define the domain: {error}") from None
            if not document.name or document.root.find("memory") is None:
                raise ToolError("libvirt on this host did not define the domain: name or memory is missing")
            old = self._domains.get(document.name)
            if old is not None and old.uuid != document.uuid:
                raise ToolError(f"libvirt on this host did not define the domain: {document.name} exists")
            number = document.uuid or str(uuid.uuid4())
            other = next((name for name, one in self._domains.items() if one.uuid == number), document.name)
            if other != document.name:
                raise ToolError(
                    f"libvirt on this host did not define the domain: operation failed: domain '{other}' is already "
                    f"defined with uuid {number}"
                )
            new = _Domain(document, number) if old is None else replace(old, document=document)
            self._domains[document.name] = new

    def set_autostart(self, name: str, autostart: bool) -> None:
        with self._step("set_autostart"):
            self._change(self._existing(name), autostart=autostart)

    def document(self, name: str) -> DomainDocument:
        with self._lock:
            domain = self._existing(name)
            return domain.document if domain.state == "shutoff" else with_devices(domain.document)

    def start_paused(self, name: str) -> None:
        with self._step("start"):
            domain = self._existing(name)
            if domain.state != "shutoff":
                raise ToolError(f"libvirt on this host did not start {name}: domain is already running")
            for source in domain.document.root.iterfind("devices/disk/source[@file]"):
                if not Path(source.get("file", "")).exists():
                    raise ToolError(f"libvirt on this host did not start {name}: No such file or directory")
            self._change(domain, state="paused", has_managed_save=False)

    def destroy(self, name: str) -> None:
        with self._step("destroy"):
            domain = self._domains.get(name)
            if domain is not None and domain.state != "shutoff":
                self._change(domain, state="shutoff")

    def undefine(self, name: str) -> None:
        """As `DomainDriver.undefine`; like libvirt it fails while there is a managed save."""
        with self._step("undefine"):
            domain = self._domains.get(name)
            if domain is not None and domain.has_managed_save:
                raise ToolError(
                    f"libvirt on this host did not undefine {name}: "
                    "Refusing to undefine while domain managed save image exists"
                )
            self._domains.pop(name, None)

    def erase(self, name: str) -> None:
        with self._step("erase"):
            self._domains.pop(name, None)

    def save(self, name: str) -> None:
        with self._step("save"):
            self._change(self._active(name, "save"), state="shutoff", has_managed_save=True)

    def check_managed_save(self, name: str) -> None:
        with self._step("read the managed save"):
            if not self._existing(name).has_managed_save:
                raise ToolError(
                    f"libvirt on this host did not read the managed save of {name}: there is none"
                )

    def drop_managed_save(self, name: str) -> None:
        with self._step("drop_managed_save"):
            self._change(self._existing(name), has_managed_save=False)

    def suspend(self, name: str) -> None:
        with self._step("suspend"):
            self._change(self._active(name, "pause"), state="paused")

    def resume(self, name: str) -> None:
        with self._step("resume"):
            self._change(self._active(name, "resume"), state="running", is_stopped_by_disk=False)

    def is_stopped_by_disk(self, name: str) -> bool:
        with self._lock:
            domain = self._domains.get(name)
            return domain is not None and domain.state == "paused" and domain.is_stopped_by_disk

    def fail_disk(self, name: str) -> None:
        """The guest's disk fails an access, and QEMU stops the guest."""
        with self._lock:
            self._change(self._active(name, "stop"), state="paused", is_stopped_by_disk=True)

    def begin_arrival(self, xml: str) -> None:
        """libvirt receives the domain of another host; until its end it is not defined here."""
        document = parse_domain(xml)
        with self._lock:
            self._domains[document.name] = _Domain(
                document, document.uuid, state="paused", is_persistent=False
            )

    def end_arrival(self, name: str) -> None:
        """libvirt has received the domain: it is defined, and resumed next."""
        with self._lock:
            self._change(self._existing(name), is_persistent=True)

    def press_power_button(self, name: str) -> None:
        with self._step("press_power_button"):
            domain = self._active(name, "shut down")
            if self.guests_obey:
                self._change(domain, state="shutoff")

    def reset(self, name: str) -> None:
        with self._step("reset"):
            self._active(name, "reset")

    def reboot(self, name: str) -> None:
        with self._step("reboot"):
            self._active(name, "reboot")

    def attach(self, name: str, device: str) -> None:
        with self._step("attach"):
            element = ElementTree.fromstring(device)
            source = element.find("source")
            if source is not None and source.get("file") and not Path(source.get("file", "")).exists():
                raise ToolError(f"libvirt on this host did not attach a device to {name}: No such file")
            root = self._changed_root(name, "attach a device to")
            memory = root.find("memory")
            if element.tag == "memory" and memory is not None:
                added_mb = int(element.findtext("target/size", "0"))
                memory.text = str(int(memory.text or 0) + added_mb * KIB_PER_MB)
            root.find("devices").append(element)  # type: ignore[union-attr]
            self._write(name, root)

    def detach(self, name: str, device: str) -> None:
        """As `DomainDriver.detach`; nothing happens when the guests do not release devices."""
        with self._step("detach"):
            root = self._changed_root(name, "detach a device from")
            devices = root.find("devices")
            for one in list(devices if devices is not None and self.guests_release else ()):
                if key_of(one) == key_of(ElementTree.fromstring(device)):
                    devices.remove(one)  # type: ignore[union-attr]
            self._write(name, root)

    def forget_device(self, name: str, device: str) -> None:
        """As `DomainDriver.forget_device`: the definition is the running domain here."""
        with self._step("forget_device"):
            self._active(name, "change")

    def update(self, name: str, device: str) -> None:
        with self._step("update"):
            root = self._changed_root(name, "change a device of")
            devices, new = root.find("devices"), ElementTree.fromstring(device)
            for number, one in enumerate(devices if devices is not None else ()):
                if key_of(one) == key_of(new):
                    devices[number] = new  # type: ignore[index]
            self._write(name, root)

    def set_cpus(self, name: str, cpus: int) -> None:
        with self._step("set_cpus"):
            root = self._changed_root(name, "set the number of CPUs of")
            if cpus > self._domains[name].document.max_cpus:
                raise ToolError(
                    f"libvirt on this host did not set the number of CPUs of {name}: more than maximum"
                )
            root.find("vcpu").set("current", str(cpus))  # type: ignore[union-attr]
            self._write(name, root)

    def set_lease(self, name: str, lease: str) -> None:
        with self._step("set_lease"):
            root = self._changed_root(name, "set the lease of")
            replace_lease(root, lease)
            self._write(name, root)

    def disk_bytes(self, name: str, path: str) -> int:
        with self._lock:
            self._active(name, f"report the disk {path} of")
            return Path(path).stat().st_size

    def resize_disk(self, name: str, path: str, size_bytes: int) -> None:
        with self._step("resize_disk"):
            self._active(name, f"resize the disk {path} of")
            os.truncate(path, size_bytes)

    def has_agent(self, name: str) -> bool:
        """As `DomainDriver.has_agent`: the guests have none."""
        with self._lock:
            self._active(name, "report the XML of")
            return False

    def freeze(self, name: str) -> str | None:
        return "QEMU guest agent is not configured"

    def thaw(self, name: str) -> int | None:
        return None

    def begin_backup(self, name: str, files: Mapping[str, tuple[str, str]]) -> None:
        """As `DomainDriver.begin_backup`; the copies are complete at once."""
        with self._step("begin_backup"):
            for disk in self._active(name, "copy the disks of").document.root.iterfind("devices/disk"):
                source, target = disk.find("source"), disk.find("target")
                if source is not None and target is not None and target.get("dev") in files:
                    copied = Path(files[target.get("dev", "")][0])
                    with Path(source.get("file", "")).open("rb") as disk_file, copied.open("wb") as copy_file:
                        copy_content(disk_file.fileno(), copy_file.fileno())

    def backup_runs(self, name: str) -> bool:
        return False

    def backup_succeeded(self, name: str) -> bool:
        return True

    def end_backup(self, name: str) -> None:
        """As `DomainDriver.end_backup`."""

    def close(self) -> None:
        """As `DomainDriver.close`."""

    @contextmanager
    def _step(self, step: str) -> Iterator[None]:
        with self._lock:
            message = self.refusals.pop(step, None)
            if message is not None:
                raise ToolError(f"libvirt on this host did not {step}: {message}")
            yield

    def _existing(self, name: str) -> _Domain:
        domain = self._domains.get(name)
        if domain is None:
            raise StateError(f"there is no domain {name} on this host")
        return domain

    def _active(self, name: str, what: str) -> _Domain:
        domain = self._existing(name)
        if domain.state == "shutoff":
            raise ToolError(f"libvirt on this host did not {what} {name}: domain is not running")
        return domain

    def _fact(self, domain: _Domain) -> DomainFact:
        document = domain.document
        return DomainFact(
            name=document.name,
            uuid=domain.uuid,
            state=domain.state,
            token=document.token,
            memory_mb=document.memory_mb,
            cpus=document.cpus,
            autostart=domain.autostart,
            persistent=domain.is_persistent,
            has_managed_save=domain.has_managed_save,
            disks=document.disks,
            listeners=document.listeners,
        )

    def moving_document(self, name: str) -> DomainDocument:
        return self.document(name)

    def host_cpu(self) -> str:
        return ""

    def cpu_fits(self, document: DomainDocument, cpu: str) -> bool:
        """As `DomainDriver.cpu_fits`; every CPU does."""
        return True

    def move_live(self, name: str, way: LiveWay) -> None:
        """As `DomainDriver.move_live`; no two of these hosts are connected."""
        raise ToolError(f"libvirt on this host did not move {name}: {way.libvirt_socket} leads nowhere")

    def moved_bytes(self, name: str) -> tuple[int, int]:
        return 0, 0

    def _changed_root(self, name: str, what: str) -> Element:
        return copy.deepcopy(self._active(name, what).document.root)

    def _write(self, name: str, root: Element) -> None:
        self._change(
            self._domains[name], document=parse_domain(ElementTree.tostring(root, encoding="unicode"))
        )

    def _change(self, domain: _Domain, **changes: Any) -> None:
        self._domains[domain.document.name] = replace(domain, **changes)


def key_of(device: Element) -> tuple[str, str, str]:
    """What libvirt compares to find a device: its kind, the name of a disk, the MAC address of an interface."""
    target = device.find("target") if device.tag == "disk" else None
    return device.tag, mac_of(device), "" if target is None else target.get("dev", "")


def with_devices(document: DomainDocument) -> DomainDocument:
    """The document of a domain that runs: libvirt has named the devices of its interfaces."""
    root = copy.deepcopy(document.root)
    for number, interface in enumerate(root.iterfind("devices/interface")):
        if interface.get("type") != "hostdev":
            name = "macvtap" if interface.get("type") == "direct" else "vnet"
            SubElement(interface, "target", {"dev": f"{name}{number}"})
    return DomainDocument(document.text, root)


def replace_lease(root: Element, lease: str) -> None:
    """Put the lease, a text of XML, in the place of an earlier one."""
    element = ElementTree.fromstring(lease)
    element.tag = LEASE
    metadata = root.find("metadata")
    if metadata is None:
        metadata = SubElement(root, "metadata")
    for old in metadata.findall(LEASE):
        metadata.remove(old)
    metadata.append(element)
