"""Certificates of hosts: issued, listed, deployed, revoked; this machine has no broker."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from rocks.core.errors import HostError, RocksError
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.install.boot import files as boot_files
from rocks.site import certificates
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerSettings
from rocks.trust.x509 import CertificateSpec, read_revoked_list
from tests.system.commands.conftest import Site


@pytest.fixture
def pki(authority: Path) -> Path:
    """The authority's folder, without a certificate."""
    return authority


def test_issue_list_and_revoke(vm_site: Site, pki: Path) -> None:
    out = vm_site.done("add host certificate vmc-0-0 vmc-0-1 days=100")
    assert out.startswith("vmc-0-0: certificate ") and out.count("\n") == 2
    first, second = vm_site.done("list host certificate output-header=no").splitlines()
    assert first.startswith("vmc-0-0:") and first.endswith("not deployed")
    assert second.split()[1] in out
    assert vm_site.done("list host certificate head") == ""
    assert "certificate" in vm_site.done("remove host certificate vmc-0-0")
    assert vm_site.done("remove host certificate vmc-0-0") == ""
    assert vm_site.done("list host certificate output-header=no").startswith("vmc-0-1:")


def test_a_certificate_that_expires_soon_needs_an_operator(vm_site: Site, pki: Path) -> None:
    """Also for those who look at `list site` and the metrics alone."""
    vm_site.done("add host certificate head days=29")
    authority = message_broker.node_authority()
    authority.settle("head", authority.certificates()["head"].serial)
    problems = json.loads(vm_site.done("list site json=yes"))["problems"]
    (problem,) = [one["problem"] for one in problems if one["subject"] == "certificate head"]
    assert problem.startswith("expires soon: rocks add host certificate head replace=yes")
    assert 'rocks_problems{subject="certificate"} 1' in vm_site.done("report metrics").splitlines()


def test_a_removed_host_has_no_certificate(vm_site: Site, pki: Path) -> None:
    vm_site.done("add host certificate vmc-0-1")
    assert (
        "the certificate of vmc-0-1 is revoked; run rocks sync host certificate"
        in vm_site.rocks("remove host vmc-0-1").err
    )
    assert vm_site.done("list host certificate") == ""


def test_a_renamed_host_gets_another_certificate(vm_site: Site, pki: Path, deployed: Path) -> None:
    """That of its old name is in the revocation list, and the commands that are named lead to a new one."""
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    old = message_broker.node_authority().certificates()["vmc-0-0"]
    vm_site.done("set host name vmc-0-0 vmc-0-0")
    assert message_broker.node_authority().certificates()["vmc-0-0"] == old, "it has its name"
    ended = vm_site.rocks("set host name vmc-0-0 hypervisor")
    assert ended.status == 0 and "Warning: the certificate of vmc-0-0 is revoked" in ended.err
    assert "vmc-0-0" not in vm_site.done("list host certificate")
    for command in ("add host certificate hypervisor", "sync host certificate hypervisor"):
        assert f"rocks {command}" in ended.err
        vm_site.done(command)
    vm_site.done("sync host certificate head")
    assert [revoked_at(deployed, node) for node in ("head", "hypervisor")] == [{old.serial}] * 2
    vm_site.done("set host name vmc-0-1 other")  # has no certificate


def test_a_host_named_broker_does_not_take_the_brokers_certificate_along(vm_site: Site, pki: Path) -> None:
    vm_site.done("add host certificate vmc-0-0")
    message_broker.node_authority().issue(CertificateSpec("broker", ["head"], [], 100))
    vm_site.done("set host name vmc-0-1 broker")
    vm_site.done("remove host broker")
    assert "broker" in message_broker.node_authority().certificates()


def test_deployment_to_this_machine(vm_site: Site, pki: Path, tmp_path: Path) -> None:
    """A host that does not answer does not delay the other, and its old certificate stays."""
    vm_site.done("set attr Kickstart_PrivateHostname head")
    vm_site.done("add host certificate head")
    vm_site.patch.setattr(certificates, "NODE_FOLDER", str(tmp_path / "there"))

    def deploy_result() -> dict[str, object]:
        return dict(certificates.deploy_certificates(vm_site.database, ["head", "vmc-0-0"]))

    result = deploy_result()
    assert result["head"] == [] and isinstance(result["vmc-0-0"], RocksError)
    assert "rocks add host certificate vmc-0-0" in str(result["vmc-0-0"])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "there").iterdir()}
    assert modes == {"node.pem": 0o600, "ca.crt": 0o644, "revoked.pem": 0o644}
    assert "good" in vm_site.done("list host certificate head")
    before = (tmp_path / "there" / "node.pem").read_bytes()
    old = vm_site.done("list host certificate output-col=serial output-header=no").strip()
    vm_site.done("add host certificate head replace=yes")
    (listed,) = deploy_result()["head"]  # type: ignore[misc]
    assert listed.serial_text == old
    assert (tmp_path / "there" / "node.pem").read_bytes() != before


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of certificates of hosts, by name; vmc-0-1 does not answer."""

    def deploy(host: HostAddress, settings: FleetSettings, files: Mapping[str, bytes], folder: str) -> None:
        if host.name == "vmc-0-1":
            raise HostError("it is off")
        there = tmp_path / "hosts" / host.name
        there.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (there / name).write_bytes(data)

    monkeypatch.setattr(certificates, "deploy", deploy)
    return tmp_path / "hosts"


def revoked_at(deployed: Path, node: str) -> set[int]:
    """Serial numbers in the node's revocation list."""
    return {serial for serial, _ in read_revoked_list((deployed / node / "revoked.pem").read_bytes())}


def test_a_certificate_that_is_replaced_twice_stays_valid_until_its_host_has_the_newest(
    vm_site: Site, pki: Path, deployed: Path
) -> None:
    """The broker and the other nodes would refuse the host meanwhile."""
    vm_site.done("add host certificate head vmc-0-0")
    vm_site.done("sync host certificate head vmc-0-0")
    first = message_broker.node_authority().certificates()["vmc-0-0"]
    for _ in range(2):
        vm_site.done("add host certificate vmc-0-0 replace=yes")
    vm_site.done("sync host certificate head")
    assert revoked_at(deployed, "head") == set()
    ended = vm_site.done("sync host certificate vmc-0-0")
    assert f"; {first.serial_text} is revoked" in ended and ended.count("is revoked") == 2
    assert len(revoked_at(deployed, "head")) == 2


def test_a_repeated_deployment_brings_the_broker_what_a_killed_one_has_revoked(
    vm_site: Site, pki: Path, deployed: Path, tmp_path: Path
) -> None:
    settings = BrokerSettings("/bin/false", str(tmp_path / "broker"), str(os.getgid()))
    vm_site.patch.setattr(message_broker, "read_broker_settings", lambda: settings)
    authority = message_broker.node_authority()
    vm_site.done("add host certificate vmc-0-0")
    authority.issue(CertificateSpec("broker", ["head"], [], 100))
    vm_site.done("sync host certificate vmc-0-0")
    first = authority.certificates()["vmc-0-0"]
    vm_site.done("add host certificate vmc-0-0 replace=yes")
    authority.settle("vmc-0-0", authority.certificates()["vmc-0-0"].serial)  # killed after this
    vm_site.done("sync host certificate vmc-0-0")
    at_broker = (tmp_path / "broker/crls" / authority.list_file_name()).read_bytes()
    assert [serial for serial, _ in read_revoked_list(at_broker)] == [first.serial]


def test_a_broker_on_another_host_is_not_set_up_here(vm_site: Site, pki: Path, deployed: Path) -> None:
    """The error names the attribute, the remedy and the files; `remove` names the command for the other broker."""
    vm_site.done("set attr RABBITMQ_Server mq.example.org")
    message = vm_site.refused("sync broker")
    assert "the attribute RABBITMQ_Server puts the message broker on mq.example.org" in message
    assert "this command sets up head only" in message and "crls/HASH.r0" in message
    assert "rocks remove attr RABBITMQ_Server" in message and message_broker.BROKER_GUIDE in message
    assert len(message.replace(message_broker.BROKER_GUIDE, "page").split()) <= 45
    vm_site.done("add host certificate head vmc-0-0")
    name = message_broker.node_authority().list_file_name()
    assert f"revoked.pem becomes crls/{name}" in vm_site.refused("sync broker")
    ended = vm_site.rocks("remove host certificate vmc-0-0")
    assert ended.status == 0 and "run there: rabbitmqctl delete_user vmc-0-0" in ended.err
    vm_site.set_as_before("RABBITMQ_Server", "a b")
    message = vm_site.refused("sync broker")
    assert "the attribute RABBITMQ_Server of host head is not valid" in message
    vm_site.done("set attr RABBITMQ_Server HEAD")
    assert "this machine has no message broker" in vm_site.refused("sync broker")


def test_definitions_for_a_broker_on_another_host(vm_site: Site) -> None:
    """A user for each host with a role, though none has a certificate yet."""
    found = json.loads(vm_site.done("report broker definitions=yes"))
    assert [user["name"] for user in found["users"]] == ["head", "vmc-0-0", "vmc-0-1"]
    assert {policy["name"] for policy in found["policies"]} >= {"img-storage-requests"}


def test_refusals(vm_site: Site, pki: Path) -> None:
    for days in ("0", "3651", "x", "-1", "9" * 5000):
        refused = vm_site.refused("add host certificate vmc-0-0", f"days={days}")
        assert "must be an integer from 1 to 3650" in refused
    assert not pki.exists()
    vm_site.done("add host certificate vmc-0-0")
    message = vm_site.refused("add host certificate vmc-0-0 vmc-0-1")
    assert "vmc-0-0 has a certificate until" in message and "replace=yes" in message
    assert "vmc-0-1" not in vm_site.done("list host certificate")
    assert "this machine has no message broker" in vm_site.refused("sync broker")


def test_report_broker(vm_site: Site) -> None:
    out = vm_site.done("report broker address=10.1.0.1")
    assert '<file name="/etc/rabbitmq/rabbitmq.conf">\nlisteners.tcp = none\n' in out
    assert '{ssl_listeners, [{"10.1.0.1", 5671}]}' in out
    assert "[rabbitmq_auth_mechanism_ssl].\n" in out
    for address in ("foo", "10.1.0", '10.1.0.1", 5671}]}'):
        message = vm_site.refused("report broker", f"address={address}")
        assert message.startswith("address must be an IP address of this machine")


def test_virtual_machines_get_no_certificate(vm_site: Site, pki: Path) -> None:
    """A selector that also matches tenants' machines is an error for all hosts: nothing is made."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=blue cluster-naming=yes")
    vm_site.done("add host compute-0-0 membership=Compute")
    for names in (("frontend",), ("vmc-0-0", "blue"), ("%",)):
        message = vm_site.refused("add host certificate", *names)
        assert "no certificate is issued: " in message and "blue is a virtual machine" in message
        assert "; name physical hosts: rocks add host certificate HOST" in message
        assert "vmc-0-0 is" not in message
    assert "compute-0-0 is neither a NAS" in vm_site.refused("add host certificate compute-0-0")
    assert not pki.exists()
    vm_site.done("set attr RABBITMQ_Server compute-0-0")
    assert vm_site.done("add host certificate compute-0-0").startswith("compute-0-0: certificate ")


def test_existing_certificates_of_virtual_machines_are_listed_and_removed(
    vm_site: Site, pki: Path, deployed: Path
) -> None:
    """Those of an earlier version: not deployed again, no user of the broker, and revoked like all others."""
    vm_site.done("add cluster 203.0.113.9 1 fe-name=blue cluster-naming=yes")
    vm_site.done("add host certificate head")
    message_broker.node_authority().issue(CertificateSpec("blue", ["blue"], [], 100))
    listed = vm_site.done("list host certificate output-header=no").splitlines()
    assert listed[0].startswith("blue:") and listed[0].split()[-2:] == ["not", "allowed"]
    ended = vm_site.rocks("sync host certificate head blue")
    assert ended.status == 3 and "head: has its certificate" in ended.out
    assert "Error: blue must have no certificate" in ended.err
    assert not (deployed / "blue").exists()
    assert "blue" not in [
        user["name"] for user in json.loads(vm_site.done("report broker definitions=yes"))["users"]
    ]
    vm_site.done("remove host certificate blue")
    ended = vm_site.rocks("sync host certificate blue")
    assert "must have no certificate" in ended.err and "rocks remove" not in ended.err, "it has none"
    assert "blue" not in vm_site.done("list host certificate")


def test_remove_host_checks_the_broker_before_it_changes_anything(
    vm_site: Site, pki: Path, tmp_path: Path
) -> None:
    broken = BrokerSettings("/bin/false", str(tmp_path / "broker"), str(os.getgid()))
    vm_site.done("add host certificate vmc-0-1")
    vm_site.patch.setattr(message_broker, "read_broker_settings", lambda: broken)
    assert "start it, then repeat this command" in vm_site.refused("remove host vmc-0-1 vmc-0-0")
    assert "vmc-0-1" in vm_site.done("list host certificate")
    assert message_broker.node_authority().bundle("vmc-0-1").pair
    vm_site.done("remove host vmc-0-0")  # has no certificate: the broker is not asked
    vm_site.patch.setattr(
        message_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl")
    )
    assert vm_site.rocks("remove host vmc-0-1").status == 0


@pytest.mark.parametrize(
    ("cause", "error"),
    [("names", "does not have one line"), ("boot", "another command is at work on boot files")],
)
def test_a_removed_host_has_no_user_at_the_broker_though_files_cannot_be_written(
    vm_site: Site, pki: Path, tmp_path: Path, cluster_database: Settings, cause: str, error: str
) -> None:
    """Damaged marks in /etc/hosts, or locked files of the boot service: the command fails, and has done the rest."""
    program, calls = tmp_path / "rabbitmqctl", tmp_path / "calls"
    program.write_text(f"#!/bin/sh\necho \"$*\" >>{calls}\necho '[]'\n")
    program.chmod(0o755)
    settings = BrokerSettings(str(program), str(tmp_path / "broker"), str(os.getgid()))
    vm_site.patch.setattr(message_broker, "read_broker_settings", lambda: settings)
    vm_site.done("add host certificate vmc-0-1")
    with Database(cluster_database) as other:
        if cause == "names":
            (tmp_path / "dns/zones").mkdir(parents=True)
            (tmp_path / "etc-hosts").write_text("# end of rocks\n")
        else:
            vm_site.patch.setenv("ROCKS_BOOT_FOLDER", str(tmp_path))
            vm_site.patch.setattr(boot_files, "LOCK_SECONDS", 0.0)
            other.lock(boot_files.LOCK, 0)
        ended = vm_site.rocks("remove host vmc-0-1")
    assert ended.status == 1 and error in ended.err
    assert [line for line in calls.read_text().splitlines() if "delete_user" in line] == [
        "--quiet delete_user vmc-0-1"
    ]
    assert "vmc-0-1" not in vm_site.done("list host certificate") + vm_site.done("list host")


def test_a_broker_that_fails_while_hosts_are_removed_is_a_warning(
    vm_site: Site, pki: Path, tmp_path: Path
) -> None:
    """It answers the check and fails then: the hosts are removed, their certificates are revoked."""
    program = tmp_path / "rabbitmqctl"
    program.write_text("#!/bin/sh\ncase \"$*\" in *list_users*) echo '[]';; *) exit 69;; esac\n")
    program.chmod(0o755)
    settings = BrokerSettings(str(program), str(tmp_path / "broker"), str(os.getgid()))
    vm_site.done("add host certificate vmc-0-1")
    vm_site.patch.setattr(message_broker, "read_broker_settings", lambda: settings)
    ended = vm_site.rocks("remove host vmc-0-1")
    assert ended.status == 0 and "then run `rocks sync broker`" in ended.err
    assert vm_site.done("list host certificate") == ""
    assert "vmc-0-1" not in vm_site.done("list host")
