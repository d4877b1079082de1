"""The drawing of a site: networks, physical hosts, virtual machines and the places of their disks, as SVG."""

from __future__ import annotations

from collections import Counter, defaultdict
from colorsys import hls_to_rgb
from typing import TYPE_CHECKING, NamedTuple

from lxml import etree

from rocks.core.names import counted
from rocks.core.terminal import one_line
from rocks.inventory.cluster_records import own_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database


LOCAL = "on its host"
"""The place of a disk that is not on a NAS."""


class TopologyNetwork(NamedTuple):
    """A network of the site and its address, `10.1.0.0/255.255.0.0`."""

    name: str
    address: str


class TopologyHost(NamedTuple):
    """A physical host with its membership, and the networks of its interfaces."""

    name: str
    membership: str
    rack: int
    networks: tuple[str, ...]


class TopologyMachine(NamedTuple):
    """A virtual machine. `cluster` is '' for one without; `disks` has `NAS:POOL` or `LOCAL` for each."""

    name: str
    cluster: str
    container: str
    disks: tuple[str, ...]


class Topology(NamedTuple):
    """The site. `vlans` maps a cluster to its VLAN ids."""

    networks: tuple[TopologyNetwork, ...]
    hosts: tuple[TopologyHost, ...]
    machines: tuple[TopologyMachine, ...]
    vlans: dict[str, tuple[int, ...]]


# A drawing of the site as SVG. Pure.
#
# Networks are bars with a colour; a host has a dot in the colour of each of its networks. A virtual machine is a
# box in the colour of its cluster, within its host. NASes list the disks that they have. The racks of a large site
# are drawn in place of their hosts. Every text is cut to its box; the complete one is its tooltip.


MAX_HOSTS = 40
"""The most hosts that are drawn; with more, their racks are."""

NAMESPACE = "http://www.w3.org/2000/svg"
_WIDTH, _MARGIN, _GAP = 1240, 20, 12
_BOX, _LINE, _CHARACTER = 188, 16, 6.6
"""Width of a box, height of a line of text and width of a character, in pixels."""
_GOLDEN_ANGLE = 0.381966
_MAX_MACHINES = 12
_MAX_CLUSTERS = 60
_NO_CLUSTER = "#ddd"
"""Colour of machines that are in no cluster."""

_STYLE = (
    "text{font:11px sans-serif;fill:#222}.title{font-weight:bold;font-size:13px}.box{fill:#fafafa;stroke:#888}"
    ".nas{fill:#eef3fb;stroke:#5577aa}"
)


class Box(NamedTuple):
    """A box with a title, dots and lines of text, each with the colour of its background or ''."""

    title: str
    kind: str
    dots: tuple[tuple[str, str], ...]
    """(colour, tooltip)."""
    lines: tuple[tuple[str, str], ...]
    """(text, colour)."""


def topology_svg(site: Topology, by_rack: bool | None = None) -> str:
    """The document. `by_rack` None draws racks where the site has more than `MAX_HOSTS` hosts."""
    networks = {network.name: _colour(number, 70) for number, network in enumerate(site.networks)}
    named = dict.fromkeys([*site.vlans, *(machine.cluster for machine in site.machines if machine.cluster)])
    clusters = {name: _colour(number, 85) for number, name in enumerate(named)}
    root = etree.Element(f"{{{NAMESPACE}}}svg", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    _add(root, "style", _STYLE)
    y = _MARGIN
    for network in site.networks:
        colour = networks[network.name]
        _add(root, "rect", x=_MARGIN, y=y, width=_WIDTH - 2 * _MARGIN, height=18, rx=3, fill=colour)
        _text(root, f"{network.name}  {network.address}", _MARGIN + 8, y + 13, _WIDTH - 4 * _MARGIN)
        y += 24
    stored = _stored_disks(site)
    boxes = _nas_boxes(site, stored, networks, clusters)
    placed: dict[str, list[TopologyMachine]] = defaultdict(list)
    for machine in site.machines:
        placed[machine.container].append(machine)
    others = [host for host in site.hosts if host.name not in stored]
    if len(site.hosts) > MAX_HOSTS if by_rack is None else by_rack:
        boxes += _rack_boxes(others, placed, networks, clusters)
    else:
        for host in others:
            lines = ((host.membership, ""), *_machine_lines(placed[host.name], clusters))
            boxes.append(Box(host.name, "box", _dots(host, networks), lines))
    if placed[""]:
        boxes.append(Box("without a host", "box", (), _machine_lines(placed[""], clusters)))
    y = _place(root, boxes, y + _GAP)
    y = _place(root, _cluster_boxes(site, clusters), y + _GAP)
    root.set("viewBox", f"0 0 {_WIDTH} {y + _MARGIN}")
    root.set("width", str(_WIDTH))
    root.set("height", str(y + _MARGIN))
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return text.decode("utf-8")


def _colour(number: int, lightness: int) -> str:
    """Colours that follow each other differ: steps of the golden angle."""
    red, green, blue = hls_to_rgb(number * _GOLDEN_ANGLE % 1, lightness / 100, 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _dots(host: TopologyHost, networks: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((networks[name], name) for name in host.networks if name in networks)


def _machine_lines(
    machines: Sequence[TopologyMachine], clusters: dict[str, str]
) -> tuple[tuple[str, str], ...]:
    lines = [
        (f"{machine.name}  {_disks(machine.disks)}", clusters.get(machine.cluster, _NO_CLUSTER))
        for machine in machines[:_MAX_MACHINES]
    ]
    if len(machines) > _MAX_MACHINES:
        lines.append((f"and {len(machines) - _MAX_MACHINES} more", ""))
    return tuple(lines)


def _disks(places: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys("local" if place == LOCAL else place for place in places))


def _stored_disks(site: Topology) -> dict[str, Counter[tuple[str, str]]]:
    """NAS → how many disks each of its places has of each cluster."""
    stored: dict[str, Counter[tuple[str, str]]] = {}
    for machine in site.machines:
        for place in machine.disks:
            if place != LOCAL:
                nas = place.partition(":")[0]
                stored.setdefault(nas, Counter())[place, machine.cluster] += 1
    return stored


def _nas_boxes(
    site: Topology,
    stored: dict[str, Counter[tuple[str, str]]],
    networks: dict[str, str],
    clusters: dict[str, str],
) -> list[Box]:
    """A box for each NAS that has disks: those that are hosts in their order, then names that are none."""
    dots = {host.name: _dots(host, networks) for host in site.hosts if host.name in stored}
    names = [*dots, *sorted(stored.keys() - dots.keys())]
    return [
        Box(f"NAS {name}", "nas", dots.get(name, ()), _stored_lines(stored[name], clusters)) for name in names
    ]


def _stored_lines(stored: Counter[tuple[str, str]], clusters: dict[str, str]) -> tuple[tuple[str, str], ...]:
    lines = [
        (
            f"{place.partition(':')[2] or 'no pool'}: {count} of {cluster or 'no cluster'}",
            clusters.get(cluster, _NO_CLUSTER),
        )
        for (place, cluster), count in sorted(stored.items())
    ]
    if len(lines) > _MAX_MACHINES:
        lines = [*lines[:_MAX_MACHINES], (f"and {len(lines) - _MAX_MACHINES} more", "")]
    return tuple(lines)


def _rack_boxes(
    hosts: Sequence[TopologyHost],
    placed: dict[str, list[TopologyMachine]],
    networks: dict[str, str],
    clusters: dict[str, str],
) -> list[Box]:
    """A box for each rack and membership: its hosts, and the machines of each cluster there."""
    racks: dict[tuple[int, str], list[TopologyHost]] = defaultdict(list)
    for host in hosts:
        racks[host.rack, host.membership].append(host)
    boxes = []
    for (rack, membership), members in sorted(racks.items()):
        counts = Counter(machine.cluster for host in members for machine in placed[host.name])
        span = members[0].name if len(members) == 1 else f"{members[0].name} … {members[-1].name}"
        lines = [(f"{len(members)} × {membership}", ""), (span, "")]
        lines += [
            (f"{cluster or 'no cluster'}: {count}", clusters.get(cluster, _NO_CLUSTER))
            for cluster, count in counts.most_common(_MAX_MACHINES)
        ]
        if len(counts) > _MAX_MACHINES:
            lines.append((f"and {len(counts) - _MAX_MACHINES} more clusters", ""))
        dots = dict.fromkeys(dot for host in members for dot in _dots(host, networks))
        boxes.append(Box(f"rack {rack}", "box", tuple(dots), tuple(lines)))
    return boxes


def _cluster_boxes(site: Topology, clusters: dict[str, str]) -> list[Box]:
    of_cluster: dict[str, list[TopologyMachine]] = defaultdict(list)
    for machine in site.machines:
        of_cluster[machine.cluster].append(machine)
    boxes = []
    for name in list(clusters)[:_MAX_CLUSTERS]:
        machines = of_cluster[name]
        places = Counter(place for machine in machines for place in machine.disks)
        hosts = {machine.container for machine in machines} - {""}
        lines = [(f"{counted(len(machines), 'machine')} on {counted(len(hosts), 'host')}", clusters[name])]
        if name in site.vlans:
            lines.append((f"VLAN {', '.join(map(str, site.vlans[name]))}", ""))
        lines += [(f"disks {place}: {count}", "") for place, count in places.most_common(4)]
        boxes.append(Box(f"cluster {name}", "box", (), tuple(lines)))
    if len(clusters) > _MAX_CLUSTERS:
        boxes.append(Box(f"and {len(clusters) - _MAX_CLUSTERS} more clusters", "box", (), ()))
    return boxes


def _place(root: etree._Element, boxes: Sequence[Box], y: int) -> int:
    """Draw boxes in rows; returns the lower end."""
    columns = (_WIDTH - 2 * _MARGIN + _GAP) // (_BOX + _GAP)
    for start in range(0, len(boxes), columns):
        row = boxes[start : start + columns]
        height = max(len(box.lines) for box in row) * _LINE + 30
        for column, box in enumerate(row):
            _draw(root, box, _MARGIN + column * (_BOX + _GAP), y, height)
        y += height + _GAP
    return y


def _draw(root: etree._Element, box: Box, x: int, y: int, height: int) -> None:
    group = _add(root, "g")
    _add(group, "rect", x=x, y=y, width=_BOX, height=height, rx=4, **{"class": box.kind})
    dots = box.dots[:6]
    _text(group, box.title, x + 8, y + 18, _BOX - 16 - 10 * len(dots), "title")
    for number, (colour, name) in enumerate(dots):
        circle = _add(group, "circle", cx=x + _BOX - 10 - 10 * number, cy=y + 13, r=4, fill=colour)
        _add(circle, "title", name)
    for number, (text, colour) in enumerate(box.lines):
        top = y + 26 + number * _LINE
        if colour:
            _add(group, "rect", x=x + 4, y=top, width=_BOX - 8, height=_LINE - 2, rx=2, fill=colour)
        _text(group, text, x + 8, top + 11, _BOX - 16)


def _text(parent: etree._Element, text: str, x: int, y: int, width: int, kind: str = "") -> None:
    clean, most = one_line(text), max(1, int(width / _CHARACTER))
    element = _add(parent, "text", x=x, y=y, **({"class": kind} if kind else {}))
    if len(clean) <= most:
        element.text = clean
        return
    element.text = clean[: most - 1] + "…"
    _add(element, "title", clean)


def _add(parent: etree._Element, tag: str, text: str = "", **attributes: object) -> etree._Element:
    element = etree.SubElement(
        parent, f"{{{NAMESPACE}}}{tag}", {name: str(value) for name, value in attributes.items()}
    )
    if text:
        element.text = one_line(text)
    return element


# Reads the site for a drawing: five statements, whatever its size.


_SEPARATOR = "\x1f"
_PLACES = "GROUP_CONCAT({} ORDER BY {} SEPARATOR '\x1f')"


def read_topology(database: Database) -> Topology:
    """Networks, physical hosts, virtual machines with their clusters and disks, in the database's order."""
    networks = database.rows("SELECT name, CONCAT_WS('/', subnet, netmask) FROM subnets ORDER BY ID")
    hosts = database.rows(
        f"SELECT n.Name, COALESCE(m.Name, ''), COALESCE(n.Rack, 0), {_PLACES.format('DISTINCT s.name', 's.ID')}"
        " FROM nodes n LEFT JOIN memberships m ON m.ID = n.Membership LEFT JOIN vm_nodes v ON v.Node = n.ID"
        " LEFT JOIN networks i ON i.Node = n.ID LEFT JOIN subnets s ON s.ID = i.Subnet"
        " WHERE v.ID IS NULL GROUP BY n.ID ORDER BY n.ID"
    )
    place = "IF(COALESCE(g.nas_name, '') = '', %s, CONCAT_WS(':', g.nas_name, NULLIF(g.zpool_name, '')))"
    machines = database.rows(
        f"SELECT n.Name, COALESCE(p.Name, ''), {_PLACES.format(f'IF(d.ID IS NULL, NULL, {place})', 'd.ID')}"
        " FROM vm_nodes v JOIN nodes n ON n.ID = v.Node LEFT JOIN nodes p ON p.ID = v.PhysNode"
        " LEFT JOIN vm_disks d ON d.Vm_Node = v.ID LEFT JOIN img_nas_server g ON g.vm_disk_id = d.ID"
        " GROUP BY v.ID ORDER BY n.ID",
        (LOCAL,),
    )
    clusters = own_members(database, None)
    cluster_of = {name: found.frontend for found in clusters.values() for name in found.names}
    return Topology(
        tuple(TopologyNetwork(str(name), str(address)) for name, address in networks),
        tuple(
            TopologyHost(str(name), str(kind), int(rack), _split(found)) for name, kind, rack, found in hosts
        ),
        tuple(
            TopologyMachine(str(name), cluster_of.get(str(name), ""), str(container), _split(disks))
            for name, container, disks in machines
        ),
        {found.frontend: found.vlans for found in clusters.values()},
    )


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(_SEPARATOR)) if text else ()
