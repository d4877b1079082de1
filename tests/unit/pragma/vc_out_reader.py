"""Reads what the roll writes as vc-out.xml, so that tests can compare: written, read and written again is the same."""

from ipaddress import IPv4Interface

from lxml import etree

from pragma._shared.documents import read_document
from pragma._shared.vc_out import (
    PRIVATE,
    Common,
    Compute,
    ComputeFile,
    Frontend,
    FrontendFile,
    Interface,
)
from rocks.core.errors import UserError
from rocks.core.terminal import one_line


def read_vc_out(data: bytes) -> FrontendFile | ComputeFile:
    """What `frontend_text` or `compute_text` wrote. UserError for another document."""
    root = read_document(data, "vc-out.xml")
    try:
        return _read(root)
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(f"vc-out.xml has not what this system writes: {one_line(str(error))[:200]}") from None


def _read(root: etree._Element) -> FrontendFile | ComputeFile:
    frontend, computes, dns = root.find("frontend"), root.find("compute"), root.find("network/dns")
    if root.tag != "vc" or frontend is None or computes is None or dns is None:
        raise ValueError("an element frontend, compute or network/dns is missing")
    key = root.find("key")
    servers = tuple(one for one in _value(dns, "ip").split(",") if one)
    text = "" if key is None else key.text or ""
    common = Common(servers, text, _value(dns, "search"), _value(dns, "domain"))
    if computes.find(PRIVATE) is not None:
        # a compute's file does not have its number of CPUs
        own = Compute(_value(computes, "name"), 0, _value(computes, "gw"), _interfaces(computes))
        return ComputeFile(_value(frontend, "fqdn"), own, common)
    nodes = tuple(
        Compute(_value(node, "name"), int(_value(node, "cpus")), _value(node, "gw"), _interfaces(node))
        for node in computes.findall("node")
    )
    if len(nodes) != int(_value(computes, "count")):
        raise ValueError(f"it has {len(nodes)} computes, and states {_value(computes, 'count')}")
    return FrontendFile(
        Frontend(_value(frontend, "fqdn"), _value(frontend, "gw"), _interfaces(frontend)), nodes, common
    )


def _interfaces(parent: etree._Element) -> tuple[Interface, ...]:
    return tuple(
        Interface(
            str(one.tag),
            _value(one, "mac"),
            IPv4Interface((_value(one, "ip"), _value(one, "netmask"))),
            int(_value(one, "mtu")),
        )
        for one in parent
    )


def _value(element: etree._Element, name: str) -> str:
    return str(element.attrib[name])
