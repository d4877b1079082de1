"""Readers of vc-out.xml that take nothing for granted: each attribute that a guest's agent reads must be there.

They are written after the specification, not after our writer: `generation_one` is what vc-out-parser and dynip read
of the flat file, `generation_two` what the later vc-out-parser reads of an element for each network.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Any
from xml.etree import ElementTree

G1_FRONTEND = {"public": ("fqdn", "ip", "netmask", "gw", "name", "mac"), "private": ("ip", "netmask", "mac")}
NETWORK = ("subnet", "netmask", "mtu", "ip", "mac")


def generation_one(text: str) -> dict[str, Any]:
    root = ElementTree.fromstring(text)
    found: dict[str, Any] = {"dns": dict(_one(root, "network/dns").attrib), "key": _one(root, "key").text}
    assert {"ip", "search", "domain"} <= set(found["dns"])
    found["fqdn"] = _one(root, "frontend/public").attrib["fqdn"]
    private = root.find("compute/private")
    if private is not None:
        found["private"] = {name: private.attrib[name] for name in ("fqdn", "ip", "netmask", "gw", "mac")}
        return found
    for element, names in G1_FRONTEND.items():
        found[element] = {name: _one(root, f"frontend/{element}").attrib[name] for name in names}
    nodes = root.findall("compute/node")
    found["nodes"] = [{name: node.attrib[name] for name in ("name", "mac", "ip", "cpus")} for node in nodes]
    assert int(_one(root, "compute").attrib["count"]) == len(nodes)
    return found


def generation_two(text: str) -> dict[str, Any]:
    root = ElementTree.fromstring(text)
    frontend, compute = _one(root, "frontend"), _one(root, "compute")
    found: dict[str, Any] = {"dns": dict(_one(root, "network/dns").attrib), "key": _one(root, "key").text}
    found["fqdn"] = frontend.attrib["fqdn"]
    if compute.find("private") is not None:
        found["compute"] = {name: compute.attrib[name] for name in ("name", "gw")}
        found["networks"] = _networks(compute)
        return found
    found["frontend"] = {name: frontend.attrib[name] for name in ("fqdn", "name", "gw")}
    found["networks"] = _networks(frontend)
    found["nodes"] = [
        ({name: node.attrib[name] for name in ("name", "cpus", "gw")}, _networks(node))
        for node in compute.findall("node")
    ]
    assert int(compute.attrib["count"]) == len(found["nodes"])
    return found


def _one(root: ElementTree.Element, path: str) -> ElementTree.Element:
    found = root.findall(path)
    assert len(found) == 1, f"{path}: {len(found)}"
    return found[0]


def _networks(parent: ElementTree.Element) -> dict[str, dict[str, str]]:
    found = {one.tag: {name: one.attrib[name] for name in NETWORK} for one in parent}
    for values in found.values():
        assert IPv4Address(values["ip"]) in IPv4Network(f"{values['subnet']}/{values['netmask']}")
        assert int(values["mtu"]) > 0
    return found
