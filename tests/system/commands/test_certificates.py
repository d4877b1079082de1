"""Certificates of hosts: issued, listed, carried, revoked; this site has no broker on this machine."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rocks.actions import certify_hosts, sync_broker
from rocks.errors import RocksError
from rocks.hosts.broker import BrokerSettings
from tests.system.commands.conftest import Site


@pytest.fixture
def pki(vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the authority lives in these tests."""
    monkeypatch.setattr(sync_broker, "AUTHORITY_FOLDER", str(tmp_path / "authority"))
    monkeypatch.setattr(sync_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl"))
    return tmp_path / "authority"


def test_issue_list_and_revoke(vm_site: Site, pki: Path) -> None:
    out = vm_site.done("add", "host", "certificate", "vmc-0-0", "vmc-0-1", "days=100")
    assert out.startswith("vmc-0-0: certificate ") and out.count("\n") == 2
    first, second = vm_site.done("list", "host", "certificate", "output-header=no").splitlines()
    assert first.startswith("vmc-0-0:") and first.endswith("not carried")
    assert second.split()[1] in out
    assert vm_site.done("list", "host", "certificate", "head") == ""
    assert "certificate" in vm_site.done("remove", "host", "certificate", "vmc-0-0")
    assert vm_site.done("remove", "host", "certificate", "vmc-0-0") == ""
    assert vm_site.done("list", "host", "certificate", "output-header=no").startswith("vmc-0-1:")


def test_a_removed_host_has_none(vm_site: Site, pki: Path) -> None:
    vm_site.done("add", "host", "certificate", "vmc-0-1")
    vm_site.done("remove", "host", "vmc-0-1")
    assert vm_site.done("list", "host", "certificate") == ""


def test_it_is_carried_to_this_machine(vm_site: Site, pki: Path, tmp_path: Path) -> None:
    """A host that does not answer does not hinder the other, and keeps its old one."""
    vm_site.done("set", "attr", "Kickstart_PrivateHostname", "head")
    vm_site.done("add", "host", "certificate", "head")

    def carry() -> dict[str, object]:
        names = ["head", "vmc-0-0"]
        return dict(certify_hosts.carry_certificates(vm_site.database, names, folder=str(tmp_path / "there")))

    result = carry()
    assert result["head"] == [] and isinstance(result["vmc-0-0"], RocksError)
    assert "rocks add host certificate vmc-0-0" in str(result["vmc-0-0"])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "there").iterdir()}
    assert modes == {"node.pem": 0o600, "ca.crt": 0o644, "revoked.pem": 0o644}
    assert "good" in vm_site.done("list", "host", "certificate", "head")
    before = (tmp_path / "there" / "node.pem").read_bytes()
    old = vm_site.done("list", "host", "certificate", "output-col=serial", "output-header=no").strip()
    vm_site.done("add", "host", "certificate", "head", "replace=yes")
    (shown,) = carry()["head"]  # type: ignore[misc]
    assert shown.serial_text == old
    assert (tmp_path / "there" / "node.pem").read_bytes() != before


def test_the_list_of_revoked_ones_is_carried_to_all(
    vm_site: Site, pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To nodes that have a certificate; one that is not reached is told. Nothing else of theirs is touched."""
    vm_site.done("set", "attr", "Kickstart_PrivateHostname", "head")
    vm_site.done("add", "host", "certificate", "head", "vmc-0-0", "vmc-0-1")
    there = tmp_path / "there"
    monkeypatch.setattr(certify_hosts, "NODE_FOLDER", str(there))
    dict(certify_hosts.carry_certificates(vm_site.database, ["head"], folder=str(there)))
    sync_broker.node_authority().settle("vmc-0-1")
    before = {file.name: file.read_bytes() for file in there.iterdir()}
    ended = vm_site.rocks("remove", "host", "certificate", "vmc-0-0")
    assert ended.status == 0
    assert "Warning: vmc-0-1 does not know that yet" in ended.err
    assert "rocks sync host certificate vmc-0-1" in ended.err
    after = {file.name: file.read_bytes() for file in there.iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["revoked.pem"]
    assert after.keys() == before.keys()


def test_refusals(vm_site: Site, pki: Path) -> None:
    assert "must supply at least one host" in vm_site.refused("add", "host", "certificate")
    assert 'cannot resolve host "nobody"' in vm_site.refused("add", "host", "certificate", "nobody")
    for days in ("0", "3651", "x", "-1"):
        assert "days" in vm_site.refused("add", "host", "certificate", "vmc-0-0", f"days={days}")
    assert not pki.exists()
    vm_site.done("add", "host", "certificate", "vmc-0-0")
    message = vm_site.refused("add", "host", "certificate", "vmc-0-0", "vmc-0-1")
    assert "vmc-0-0 has a certificate until" in message and "replace=yes" in message
    assert "vmc-0-1" not in vm_site.done("list", "host", "certificate")
    assert "this machine has no message broker" in vm_site.refused("sync", "broker")


def test_report_broker(vm_site: Site) -> None:
    out = vm_site.done("report", "broker", "address=10.1.0.1")
    assert '<file name="/etc/rabbitmq/rabbitmq.conf">\nlisteners.tcp = none\n' in out
    assert '{ssl_listeners, [{"10.1.0.1", 5671}]}' in out
    assert "[rabbitmq_auth_mechanism_ssl].\n" in out
