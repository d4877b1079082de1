"""Any text in any parameter of a virtual machine: stored and given back exactly and escaped in its document, or
refused in one line with nothing changed.
"""

import json
import shlex
from collections.abc import Iterator
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

ODD = '/it\'s "<x>" & ]]>;$(reboot)`x`\\ é'
NUMBERS = ("1", "0", "-1", "007", "+5", "1e3", "1.5", "²", "٣", " 1", "9" * 30, "9" * 5000)
paths = text.map(lambda value: f"/{value}") | text
disks = st.builds(
    "{}:{},{}".format,
    st.sampled_from(["file", "phy", "qcow2", "FILE", ""]),
    paths,
    st.just("vda,virtio") | text,
)
TEXTS = ("name", "mac", "disk", "cdrom")
COLUMNS = (*TEXTS, "mem", "cpus", "slice", "disksize")
"""Parameters that the listing gives back."""


def lines() -> Iterator[tuple[str, ...]]:
    """Commands with `TEXT` in place of one value; `web` is there before one that changes it."""
    machine = {"membership": "compute", "name": "web"}
    for place in (
        *("membership", "name", "ip", "subnet", "mem", "cpus", "slice", "mac", "num-macs"),
        *("disksize", "disk", "vlan", "virt-type"),
    ):
        yield (
            "add",
            "host",
            "vm",
            "vmc-0-0",
            *(f"{key}={it}" for key, it in {**machine, place: "TEXT"}.items()),
        )
    cluster = {"ip": "203.0.113.9", "num-computes": "2", "fe-name": "web", "cluster-naming": "yes"}
    for place in (
        *("ip", "num-computes", "cpus-per-compute", "mem-per-compute", "disk-per-compute"),
        *("disk-per-frontend", "container-hosts", "fe-container", "fe-name", "cluster-naming"),
        *("vlan", "subnet", "gateway", "virt-type"),
    ):
        yield ("add", "cluster", *(f"{key}={it}" for key, it in {**cluster, place: "TEXT"}.items()))
    for place in ("physnode", "disk", "disksize", "mem", "slice", "virt-type"):
        yield ("set", "host", "vm", "web", f"{place}=TEXT")
    yield ("set", "host", "vm", "cdrom", "web", "cdrom=TEXT")
    yield ("set", "host", "vm", "TEXT", "mem=70")


LINES = {shlex.join(line): line for line in lines()}


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


def checked(site: Site) -> list[dict[str, Any]]:
    """The rows of all machines; their documents have the same, and their dump makes the same machines."""
    listed = site.done("list host vm showdisks=yes json=yes")
    rows = [{"name": found["vm-host"], **found["vm"][0]} for found in json.loads(listed)]
    for row in rows[:3]:
        document = etree.fromstring(site.done("report host vm config adapted=no", row["name"]))
        assert document.findtext("name") == row["name"]
        assert document.findtext("memory") == str(row["mem"] * 1024)
        sources = [one.get("file") or one.get("dev") for one in document.findall("devices/disk/source")]
        assert sources[0] == row["disk"].partition(":")[2].rsplit(",", 2)[0]
        assert row["cdrom"] is None or sources[-1] == row["cdrom"]
    for arguments in read_by_shell(site.done("dump host vm")):
        assert site.rocks(shlex.join(arguments[1:])).status == 0
    assert site.done("list host vm showdisks=yes json=yes") == listed
    return rows


@settings(generated, max_examples=examples(40))
@given(line=st.sampled_from([*LINES]), value=text | st.sampled_from(NUMBERS) | disks | paths)
@example(line="add host vm vmc-0-0 membership=compute name=web ip=TEXT", value="'10.1.0.9'")
@example(line="add host vm vmc-0-0 membership=compute name=web mac=TEXT", value="aa:BB:c:0:1:2")
@example(line="add host vm vmc-0-0 membership=compute name=web vlan=TEXT", value="0")
@example(line="add host vm vmc-0-0 membership=compute name=TEXT", value="a" * 63)
@example(line="add host vm vmc-0-0 membership=compute name=web disk=TEXT", value=f"file:{ODD},vda,virtio")
@example(line="add cluster ip=203.0.113.9 num-computes=2 fe-name=TEXT cluster-naming=yes", value="a" * 54)
@example(line="set host vm cdrom web cdrom=TEXT", value=ODD)
@example(line="set host vm web disk=TEXT", value="file:/a b,vda,virtio phy:/c d,vda,scsi")
def test_any_text_in_a_parameter(vm_site: Site, line: str, value: str) -> None:
    arguments = LINES[line]
    if arguments[0] == "set":
        vm_site.done("add host vm vmc-0-0 compute name=web")
    if run(vm_site, *(word.replace("TEXT", value) for word in arguments)) is not None:
        rows = checked(vm_site)
        place = next(word for word in arguments if "TEXT" in word).partition("=")[0]
        if arguments[:2] != ("add", "cluster") and place in COLUMNS and value:
            expected = value if place in TEXTS else int(value)
            if place == "cdrom" and value.lower() == "none":
                expected = None
            assert rows[0][place] == expected or (place == "disk" and value.startswith(rows[0][place])), rows
    forget_machines(vm_site)


@settings(generated, max_examples=examples(10))
@given(folder=paths)
@example(folder=ODD)
@example(folder="/")
def test_the_folder_of_images(vm_site: Site, folder: str) -> None:
    assume(len(folder.encode()) <= VALUE_LONGEST_BYTES)
    vm_site.set_as_before("vm_image_directory", folder or "/")
    if run(vm_site, "add", "host", "vm", "vmc-0-0", "compute", "name=web") is not None:
        (row,) = checked(vm_site)
        assert row["disk"] == f"file:{folder.rstrip('/')}/web.vda,vda,virtio"
        forget_machines(vm_site)
