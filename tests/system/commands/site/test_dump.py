"""`rocks dump`: all of the database as commands, each part after what it needs."""

from pathlib import Path

import pytest

from tests.system.commands.conftest import Site
from tests.system.imgstorage.image_site import NAS

PARTS = (
    ("network",),
    ("appliance", "attr"),
    ("attr",),
    ("os", "attr"),
    ("bootaction",),
    ("host",),
    ("host", "interface"),
    ("host", "partition"),
    ("host", "vm"),
    ("host", "vm", "nas"),
    ("host", "attr"),
    ("host", "boot"),
    ("firewall",),
)
"""Those with an output for the site of the test, in the order in which they must be replayed."""


def test_a_dump_is_all_parts_in_order(vm_site: Site) -> None:
    """With the NASes of virtual machines' images, after the machines themselves; the last line ends a replay."""
    vm_site.done("add host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    vm_site.done("add host vm vmc-0-0 compute name=web")
    vm_site.done("set host vm web disk=file:/a/web.vda,vda,virtio disksize=1")
    vm_site.done("set host vm nas web", f"nas={NAS}", "zpool=tank")
    vm_site.done("set host attr web img_persistent no")
    dumped = vm_site.done("dump")
    rest = dumped
    for arguments in PARTS:
        part = vm_site.done("dump", *arguments, *(["local=yes"] if arguments == ("host",) else []))
        before, found, rest = rest.partition(part)
        assert part and found, arguments
    lines = dumped.splitlines()
    assert lines[-1].endswith("rocks run reconfigure clear=1")


def test_commands_of_other_trees_are_parts(
    vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roll adds a command below `dump`, or a plugin with constraints, and nothing else."""
    folder = tmp_path / "dump" / "host" / "shelf"
    folder.mkdir(parents=True)
    text = (
        "import rocks.commands.dump\nclass Command(rocks.commands.dump.command):\n"
        "    def run(self, params, args):\n        self.dump('add', 'host', 'shelf')\n"
    )
    (folder / "__init__.py").write_text(text)
    (tmp_path / "dump" / "plugin_early.py").write_text(
        "import rocks.commands\nclass Plugin(rocks.commands.Plugin):\n"
        "    def requires(self):\n        return ['network']\n"
        "    def precedes(self):\n        return ['interface']\n"
        "    def run(self):\n        self.owner.addText('early\\n')\n"
    )
    monkeypatch.setenv("ROCKS_TREES", str(tmp_path))
    lines = vm_site.done("dump").splitlines()
    places = [
        next(place for place, line in enumerate(lines) if text in line)
        for text in (
            " add network public ",
            "early",
            " add host interface vmc-0-0 ",
            "add host shelf",
            "reconfigure",
        )
    ]
    assert places == sorted(places)


def test_a_dump_of_images_makes_them_again(vm_site: Site) -> None:
    """What a shell reads of it: the machine, and where its image is."""
    vm_site.done("add host", NAS, "membership=NAS Appliance", "rack=0", "rank=0")
    vm_site.done("add host vm vmc-0-0 compute name=web")
    vm_site.done("set host vm nas web", f"nas={NAS}", "zpool=tank")
    before = vm_site.done("list host vm nas web")
    dumped = vm_site.done("dump")
    vm_site.done("remove host vm nas web")
    assert vm_site.done("list host vm nas web") != before
    (line,) = [line for line in dumped.splitlines() if "set host vm nas" in line]
    vm_site.done(*line.split()[1:])
    assert vm_site.done("list host vm nas web") == before
