"""What a move has left of a machine on a host, when the machine is removed."""

import pytest

from tests.system.commands.conftest import Site

COPY = "/var/lib/rocks-images/web.vda"


@pytest.mark.parametrize("disks", ["keep", "remove"])
def test_a_copy_that_stays_is_named(vm_site: Site, disks: str) -> None:
    vm_site.done("add host vm vmc-0-0 'membership=Hosted VM' name=web")
    vm_site.change(
        "INSERT INTO vm_disk_copies (Vm_Node, Host, Path) SELECT v.ID, h.ID, %s FROM vm_nodes v"
        " JOIN nodes n ON n.ID = v.Node AND n.Name = 'web' JOIN nodes h ON h.Name = 'vmc-0-1'",
        [COPY],
    )
    ended = vm_site.rocks("remove host vm web", f"disks={disks}")
    assert f"the copy vmc-0-1:{COPY} of a disk of web, which a move has left, may stay" in ended.err
    assert f"rocks remove host image vmc-0-1 '{COPY}'" in ended.err
