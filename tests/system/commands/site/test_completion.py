"""Names of objects of a real database, for completion."""

from pathlib import Path

import pytest

from rocks.cli.completion import main
from rocks.commands._framework.shell import texts_that_may_follow
from rocks.database.connection import Database
from rocks.site.completion import KINDS, MAX_NAMES, names_that_begin
from tests.system.commands.conftest import Site


def test_every_kind_has_its_names(vm_site: Site) -> None:
    for kind in KINDS:
        assert isinstance(names_that_begin(vm_site.database, kind, ""), list)
    assert names_that_begin(vm_site.database, "host", "vmc") == ["vmc-0-0", "vmc-0-1"]
    assert names_that_begin(vm_site.database, "network", "pu") == ["public"]
    assert names_that_begin(vm_site.database, "frontend", "") == ["head"]
    vm_site.done("add host vm vmc-0-0 compute name=vm-a")
    assert names_that_begin(vm_site.database, "machine", "v") == ["vm-a"]
    assert names_that_begin(vm_site.database, "physicalhost", "") == ["head", "vmc-0-0", "vmc-0-1"]
    assert names_that_begin(vm_site.database, "virtualfrontend", "") == [], (
        "head has no cluster that is removed"
    )
    assert (
        names_that_begin(vm_site.database, "host", "%")
        == names_that_begin(vm_site.database, "host", "_")
        == []
    )
    assert names_that_begin(vm_site.database, "host", "\\' OR 1 -- ") == []


def test_attributes_are_those_that_the_system_reads_and_those_in_use(vm_site: Site) -> None:
    vm_site.done("set attr vm_filters_of_mine 1 force=yes")
    vm_site.done("set attr vm_filter on")
    assert names_that_begin(vm_site.database, "attr", "vm_f") == [
        "vm_fence_command",
        "vm_filter",
        "vm_filters_of_mine",
    ]


def test_names_of_images_are_those_of_the_library(vm_site: Site, tmp_path: Path) -> None:
    """Without their content; a library that is missing has none."""
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    assert names_that_begin(vm_site.database, "image", "") == []
    (tmp_path / "disk.raw").write_bytes(b"\1" * 1024 * 1024)
    for name in ("debian-12", "debian-13", "rocky-9"):
        vm_site.done("add image", name, f"file={tmp_path / 'disk.raw'}", "format=raw")
    (tmp_path / "library" / "debian-14.json").write_text("damaged")
    assert names_that_begin(vm_site.database, "image", "deb") == ["debian-12", "debian-13", "debian-14"]
    assert names_that_begin(vm_site.database, "image", "x%") == []


def test_names_of_volumes_and_graphs(vm_site: Site) -> None:
    """Volumes of machines' disks: the first has no number; disks on a host have none on a NAS."""
    vm_site.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=0")
    vm_site.done("add host vm vmc-0-0 compute name=vm-a")
    disks = " ".join(f"file:/images/vm-a.{disk},{disk},virtio" for disk in ("vda", "vdb", "vdc"))
    vm_site.done("set host vm vm-a", f"disk={disks}", "disksize=1")
    for index in (0, 2):
        vm_site.done("set host vm nas vm-a nas=nas-0-0 zpool=tank", f"index={index}")
    assert names_that_begin(vm_site.database, "volume", "vm-") == ["vm-a-vol", "vm-a-vol2"]
    assert names_that_begin(vm_site.database, "volume", "vm-a-vol2") == ["vm-a-vol2"]
    assert names_that_begin(vm_site.database, "graph", "def") == ["default"]
    assert "client" in names_that_begin(vm_site.database, "node", "cli")


def test_of_many_names_the_common_beginning_is_right(site: Site) -> None:
    """A shell types the text with which all that is offered begins."""
    rows = [(f"a-{number:04}",) for number in range(MAX_NAMES + 50)] + [("az",)]
    site.database.insert_many("INSERT INTO nodes (Name) VALUES", rows)
    site.database.commit()
    found = names_that_begin(site.database, "host", "a")
    assert len(found) == MAX_NAMES + 1 and found[-1] == "az"


def test_the_shell_s_completion(vm_site: Site) -> None:
    assert texts_that_may_follow(vm_site.database, "list host ", "hea") == ["head "]
    assert texts_that_may_follow(vm_site.database, "list host vm ", "st") == ["status="]
    assert texts_that_may_follow(vm_site.database, "add 'x ", "") == []
    with Database(vm_site.database.settings._replace(socket="/nowhere/mysql.sock")) as silent:
        assert texts_that_may_follow(silent, "list host vm ", "st") == ["status="], "what needs no database"


def test_the_program_prints_names(
    vm_site: Site,
    cluster_environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in cluster_environment.items():
        vm_site.patch.setenv(name, value)
    assert main(["words", "list", "host", "v"]) == 0
    assert capsys.readouterr().out.split() == ["vm", "vmc-0-0", "vmc-0-1"]
