"""Screens and serial lines in the XML of a running domain: their places, and which the network reaches; pure."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple
from xml.etree.ElementTree import Element

from rocks.fleet.wire.facts import ConsoleFact

_LINES = ("serial", "parallel", "channel", "console", "redirdev", "smartcard", "rng/backend")
_NETWORK = ("tcp", "udp")


def console_of(domain: Element) -> ConsoleFact:
    """Where its consoles are; None for each kind that it does not have."""
    graphics = domain.find("devices/graphics[@type='vnc']")
    log = domain.find("devices/serial[@type='pty']/log")
    return ConsoleFact(
        log_path=None if log is None else log.get("file"),
        vnc_socket=None if graphics is None else _socket(graphics),
    )


def listeners_of(domain: Element) -> Tuple[str, ...]:
    """Its screens and lines that listen on TCP or UDP, as `vnc 127.0.0.1 port 5900`."""
    return tuple(dict.fromkeys((*_screens(domain), *_lines(domain))))


def _screens(domain: Element) -> Iterator[str]:
    for graphics in domain.findall("devices/graphics"):
        for key in ("port", "tlsPort"):
            port = _port(graphics, key)
            if port is not None and _socket(graphics) is None:
                yield f"{graphics.get('type')} {_address(graphics) or 'any address'} port {port}"


def _lines(domain: Element) -> Iterator[str]:
    for kind in _LINES:
        for line in domain.findall(f"devices/{kind}"):
            source = line.find("source[@mode='bind']")
            if line.get("type") in _NETWORK and source is not None:
                yield f"{kind} {source.get('host') or 'any address'} port {source.get('service')}"


def _socket(graphics: Element) -> Optional[str]:
    listen = graphics.find("listen[@type='socket']")
    return graphics.get("socket") if listen is None else listen.get("socket")


def _address(graphics: Element) -> Optional[str]:
    listen = graphics.find("listen[@type='address']")
    return graphics.get("listen") if listen is None else listen.get("address")


def _port(graphics: Element, key: str) -> Optional[int]:
    """A port in use; libvirt writes -1 for one that it has not chosen."""
    port = int(graphics.get(key, "-1"))
    return port if port > 0 else None
