"""Any text in any parameter of a virtual machine: stored and given back exactly and escaped in its document, or
refused in one line with nothing changed.
"""

import json
import shlex
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from rocks.inventory.attributes.rules import VALUE_LONGEST_BYTES
from tests.generated import examples
from tests.system.commands.any_text import generated, run, text
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_attributes import read_by_shell

pytestmark = pytest.mark.slow

paths = text.map(lambda value: f"/{value}") | text
numbers = st.sampled_from(["1", "0", "-1", "007", "+5", "1e3", "1.5", "²", "٣", " 1", "9" * 30, "9" * 5000])
values = text | numbers


any_text = settings(generated, max_examples=examples(10))


def forget_machines(site: Site) -> None:
    """Remove all virtual machines behind the commands' back."""
    for statement in (
        "DELETE FROM vm_disks",
        "CREATE TEMPORARY TABLE gone SELECT Node FROM vm_nodes",
        "DELETE FROM vm_nodes",
        "DELETE n FROM nodes n JOIN gone g ON g.Node = n.ID",
        "DELETE c FROM catindex c JOIN categories k ON k.ID = c.Category AND k.Name = 'host'"
        " LEFT JOIN nodes n ON n.Name = c.Name WHERE n.ID IS NULL",
        "DELETE FROM networks WHERE Device LIKE 'vlan%'",
        "DROP TEMPORARY TABLE gone",
    ):
        site.database.execute(statement)
    site.database.commit()


def described(site: Site, name: str) -> tuple[dict[str, Any], etree._Element]:
    """A machine's row of the listing, and its document."""
    (found,) = json.loads(site.done("list host vm", name, "showdisks=yes", "json=yes"))
    document = etree.fromstring(site.done("report host vm config adapted=no", name))
    assert document.findtext("name") == found["vm-host"]
    return {"name": found["vm-host"], **found["vm"][0]}, document


def check_replay(site: Site, name: str) -> None:
    """What is dumped of a machine makes the same machine."""
    before = site.done("list host vm", name, "showdisks=yes", "json=yes")
    for arguments in read_by_shell(site.done("dump host vm", name)):
        site.done(shlex.join(arguments[1:]))
    assert site.done("list host vm", name, "showdisks=yes", "json=yes") == before


COLUMNS = {
    "name": "name",
    "mem": "mem",
    "cpus": "cpus",
    "slice": "slice",
    "mac": "mac",
    "disksize": "disksize",
}


@any_text
@given(
    place=st.sampled_from(
        [
            *("membership", "name", "ip", "subnet", "mem", "cpus", "slice", "mac", "num-macs"),
            *("disksize", "vlan", "virt-type"),
        ]
    ),
    value=values,
)
@example(place="ip", value="'10.1.0.9'")
@example(place="mac", value="aa:BB:c:0:1:2")
@example(place="vlan", value="0")
@example(place="name", value="a" * 63)
def test_parameters_of_a_new_machine(vm_site: Site, place: str, value: str) -> None:
    arguments = {"membership": "compute", place: value}
    ended = run(
        vm_site, "add", "host", "vm", "vmc-0-0", *(f"{key}={word}" for key, word in arguments.items())
    )
    if ended is None:
        return
    row, document = described(vm_site, ended.out.split()[2])
    if place in COLUMNS and value:
        assert row[COLUMNS[place]] == (value if place in ("name", "mac") else int(value))
    assert document.findtext("memory") == str(row["mem"] * 1024)
    check_replay(vm_site, row["name"])
    forget_machines(vm_site)


@any_text
@given(
    kind=st.sampled_from(["file", "phy", "qcow2", "FILE", ""]), path=paths, rest=st.just("vda,virtio") | text
)
@example(kind="file", path='/it\'s "<x>" & ]]>;$(reboot)`x`\\ é', rest="vda,virtio")
def test_the_disk_of_a_new_machine(vm_site: Site, kind: str, path: str, rest: str) -> None:
    given_disk = f"disk={kind}:{path},{rest}"
    if run(vm_site, "add", "host", "vm", "vmc-0-0", "compute", "name=web", given_disk) is None:
        return
    row, document = described(vm_site, "web")
    assert row["disk"] == given_disk.removeprefix("disk=")
    source = document.find("devices/disk/source")
    assert source is not None and (source.get("file") or source.get("dev")) == path
    check_replay(vm_site, "web")
    forget_machines(vm_site)


@any_text
@given(folder=paths)
@example(folder='/it\'s "<x>" & ]]>;$(reboot)`x`\\ é')
@example(folder="/")
def test_the_folder_of_images(vm_site: Site, folder: str) -> None:
    assume(len(folder.encode()) <= VALUE_LONGEST_BYTES)
    vm_site.set_as_before("vm_image_directory", folder or "/")
    if run(vm_site, "add", "host", "vm", "vmc-0-0", "compute", "name=web") is not None:
        row, _ = described(vm_site, "web")
        assert row["disk"] == f"file:{folder.rstrip('/')}/web.vda,vda,virtio"
        check_replay(vm_site, "web")
        forget_machines(vm_site)


@any_text
@given(
    place=st.sampled_from(
        [
            *("ip", "num-computes", "cpus-per-compute", "mem-per-compute", "disk-per-compute"),
            *("disk-per-frontend", "container-hosts", "fe-container", "fe-name", "cluster-naming"),
            *("vlan", "subnet", "gateway", "virt-type"),
        ]
    ),
    value=values,
)
@example(place="fe-name", value="a" * 54)
@example(place="vlan", value="4094")
def test_parameters_of_a_new_cluster(vm_site: Site, place: str, value: str) -> None:
    assume(not (place == "num-computes" and value == "300"))
    arguments = {"ip": "203.0.113.9", "num-computes": "2", place: value}
    if place == "fe-name":
        arguments["cluster-naming"] = "yes"
    ended = run(vm_site, "add", "cluster", *(f"{key}={word}" for key, word in arguments.items()))
    if ended is None:
        return
    made = [line.rpartition(": ")[2] for line in ended.out.splitlines() if line.startswith("\t")]
    assert len(made) == 1 + int(arguments["num-computes"])
    if place == "fe-name" and value:
        assert made == [value, f"vm-{value}-0", f"vm-{value}-1"]
    for name in made[:2]:
        described(vm_site, name)
    assert len(json.loads(vm_site.done("list cluster", made[0], "json=yes"))) == 1
    forget_machines(vm_site)


@any_text
@given(
    place=st.sampled_from(["physnode", "disk", "disksize", "mem", "slice", "virt-type", "cdrom", "host"]),
    value=values | paths.map(lambda path: f"file:{path},vda,virtio"),
)
@example(place="cdrom", value='/it\'s "<x>" & ]]>;$(reboot)`x`\\ é')
@example(place="disk", value="file:/a b,vda,virtio phy:/c d,vda,scsi")
def test_a_changed_machine(vm_site: Site, place: str, value: str) -> None:
    vm_site.done("add host vm vmc-0-0 compute name=web")
    arguments = ("set", "host", "vm", "cdrom", "web") if place == "cdrom" else ("set", "host", "vm", "web")
    changes = (value, "mem=70") if place == "host" else ("web", f"{place}={value}")
    if run(vm_site, *arguments[:-1], *changes) is not None and place != "host":
        row, document = described(vm_site, "web")
        if place in ("mem", "slice"):
            assert row[place] == int(value)
        if place == "cdrom":
            sources = [
                source.get("file") or source.get("dev") for source in document.findall("devices/disk/source")
            ]
            assert row["cdrom"] == (value if value.lower() != "none" else None)
            assert value.lower() == "none" or sources[-1] == value
        if place == "disk":
            assert value.startswith(row["disk"])
        check_replay(vm_site, "web")
    forget_machines(vm_site)
