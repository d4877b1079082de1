"""The list of revoked certificates comes to all nodes, whatever ends between."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from rocks.database.connection import Database
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.site import certificates
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerSettings
from rocks.trust.x509 import read_revoked_list
from tests.patience import patience
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.test_certificates import deployed, pki, revoked_at

__all__ = ["deployed", "pki"]


def test_the_revocation_list_is_deployed_to_all_nodes(vm_site: Site, pki: Path, tmp_path: Path) -> None:
    """To nodes with a certificate; an unreachable one is a warning. Their other files do not change."""
    vm_site.done("set attr Kickstart_PrivateHostname head")
    vm_site.done("add host certificate head vmc-0-0 vmc-0-1")
    there = tmp_path / "there"
    vm_site.patch.setattr(certificates, "NODE_FOLDER", str(there))
    dict(certificates.deploy_certificates(vm_site.database, ["head"]))
    authority = message_broker.node_authority()
    authority.settle("vmc-0-1", authority.certificates()["vmc-0-1"].serial)
    before = {file.name: file.read_bytes() for file in there.iterdir()}
    ended = vm_site.rocks("remove host certificate vmc-0-0")
    assert ended.status == 3
    assert "Warning: vmc-0-1 has no current revocation list" in ended.err
    assert "rocks sync host certificate vmc-0-1" in ended.err
    after = {file.name: file.read_bytes() for file in there.iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["revoked.pem"]
    assert after.keys() == before.keys()


def test_all_nodes_get_the_list_when_a_renewed_certificate_is_deployed(
    vm_site: Site, pki: Path, deployed: Path
) -> None:
    """The renewed host as well: the list that came with its certificate is older."""
    both = ("head", "vmc-0-0")
    vm_site.done("add host certificate", *both, "vmc-0-1")
    vm_site.done("sync host certificate", *both)
    authority = message_broker.node_authority()
    authority.settle("vmc-0-1", authority.certificates()["vmc-0-1"].serial)
    old = message_broker.node_authority().certificates()["vmc-0-0"]
    before = (deployed / "head" / "node.pem").read_bytes()
    vm_site.done("add host certificate vmc-0-0 replace=yes")
    assert revoked_at(deployed, "head") == set()
    ended = vm_site.rocks("sync host certificate vmc-0-0")
    assert ended.status == 3
    assert ended.out == f"vmc-0-0: has its certificate; {old.serial_text} is revoked\n"
    (line,) = ended.err.splitlines()
    assert line.startswith("Warning: vmc-0-1 has no current revocation list") and "it is off" in line
    assert [revoked_at(deployed, node) for node in both] == [{old.serial}] * 2
    assert (deployed / "head" / "node.pem").read_bytes() == before
    # nothing was revoked: no other host is contacted
    assert vm_site.done("sync host certificate vmc-0-0") == "vmc-0-0: has its certificate\n"


def test_a_node_whose_new_certificate_is_not_deployed_gets_the_list(
    vm_site: Site, pki: Path, deployed: Path
) -> None:
    """It still uses the one before."""
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    vm_site.done("add host certificate head replace=yes")
    removed = message_broker.node_authority().certificates()["vmc-0-0"]
    vm_site.done("remove host certificate vmc-0-0")
    assert revoked_at(deployed, "head") == {removed.serial}


def test_the_list_is_deployed_even_if_the_broker_does_not_answer(
    vm_site: Site, pki: Path, deployed: Path, tmp_path: Path
) -> None:
    broken = BrokerSettings("/bin/false", str(tmp_path / "broker"), str(os.getgid()))
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    removed = message_broker.node_authority().certificates()["vmc-0-0"]
    vm_site.patch.setattr(message_broker, "read_broker_settings", lambda: broken)
    assert "their connections to the broker stay open, since the broker did not answer" in vm_site.refused(
        "remove host certificate vmc-0-0"
    )
    assert revoked_at(deployed, "head") == {removed.serial}


def test_a_repeated_command_brings_the_nodes_the_list_that_a_killed_one_has_left(
    vm_site: Site, pki: Path, deployed: Path
) -> None:
    """Killed between the revocation and its deployment; later commands contact no other host."""
    authority = message_broker.node_authority()
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    first = authority.certificates()["vmc-0-0"]
    vm_site.done("add host certificate vmc-0-0 replace=yes")
    second = authority.certificates()["vmc-0-0"]
    authority.settle("vmc-0-0", second.serial)  # killed after this
    assert vm_site.done("sync host certificate vmc-0-0") == "vmc-0-0: has its certificate\n"
    assert revoked_at(deployed, "head") == {first.serial}
    authority.revoke("vmc-0-0")  # killed after this
    assert vm_site.done("remove host certificate vmc-0-0") == ""
    assert revoked_at(deployed, "head") == {first.serial, second.serial}
    (deployed / "head/revoked.pem").unlink()
    vm_site.done("remove host certificate vmc-0-0")
    assert not (deployed / "head/revoked.pem").exists()


@pytest.mark.slow
def test_a_list_that_was_read_later_is_brought_later(vm_site: Site, pki: Path, deployed: Path) -> None:
    """Of two commands at once: else the node would accept what the second one has revoked."""
    authority = message_broker.node_authority()
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    begun, may_go_on = threading.Event(), threading.Event()
    brought: list[int] = []

    def deploy(host: HostAddress, settings: FleetSettings, files: Mapping[str, bytes], folder: str) -> None:
        # the certificate of the other host is revoked meanwhile: only the first command may deploy there
        if host.name != "head":
            return
        if not begun.is_set():
            begun.set()
            assert may_go_on.wait(patience(60))
        brought.append(len(read_revoked_list(files["revoked.pem"])))

    def bring(has_revoked: bool) -> None:
        with Database(vm_site.database.settings) as database:
            certificates.deploy_revocation_list(database, has_revoked)

    vm_site.patch.setattr(certificates, "deploy", deploy)
    first, second = (threading.Thread(target=bring, args=(True,)) for _ in range(2))
    first.start()
    assert begun.wait(patience(60))
    authority.revoke("vmc-0-0")
    second.start()
    second.join(patience(1))
    may_go_on.set()
    first.join()
    second.join()
    assert brought == [0, 1]
