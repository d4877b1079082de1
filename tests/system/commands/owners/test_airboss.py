"""The owners' remote control: the real service and its database, and the program of an owner as a process of its own.

The site's hosts are silent here; power and consoles of real guests are tried in tests/system/vms/test_airboss.py.
"""

import json
import subprocess  # noqa: TID251 - the owner's program runs as a process
import sys
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.database.connection import Database
from rocks.site.airboss import client
from tests.system.commands.owners.airboss_site import PROGRAM, Service, refused


def test_an_owner_lists_and_switches_its_machines(service: Service) -> None:
    done = service.program("list", "host", "macs")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["MACS", "IN", "CLUSTER", "HOST", "NAMES"]
    assert sorted(row.split()[1] for row in rows) == ["one", "vm-one-0", "vm-one-1"]
    mac = next(row.split()[0] for row in rows if "vm-one-1" in row)

    done = service.program("set", "host", "power", "vm-one-0", mac.upper(), "action=on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (service.folder / "switched").read_text() == "set host power vm-one-0 vm-one-1 action=on\n"
    assert service.log[-1] == "127.0.0.1 200 /airboss", "signatures are not in the log"
    call, outcome = service.calls[-1]
    assert (call.cluster, call.what, call.hosts) == ("one", "power on", ("vm-one-0", mac.upper()))
    assert outcome == "answered 200" and "done (exit status 0)" in service.outcomes

    done = service.program("list", "host", "macs", "status=yes")
    assert done.returncode == 0 and "nostate-error" in done.stdout


@pytest.mark.slow
def test_an_owner_switches_the_cluster_by_one_request(service: Service) -> None:
    """Its computes, and only its own; each machine has an entry in the audit log."""
    done = service.program("set", "cluster", "power", "one", "action=on")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (service.folder / "switched").read_text() == "set host power vm-one-0 vm-one-1 action=on\n"
    assert (service.calls[-1][0].what, service.calls[-1][0].hosts) == ("cluster power on", ())
    done = service.program("set", "cluster", "power", "action=off", "with-frontend=yes")
    assert done.returncode == 0
    last = (service.folder / "switched").read_text().splitlines()[-1]
    assert sorted(last.split()[3:-1]) == ["one", "vm-one-0", "vm-one-1"] and last.endswith(" action=off")

    rows = service.site.done("list audit 'user=owner of one'").splitlines()
    found = [row for row in rows if "cluster power" in row]
    assert sum("cluster power on vm-one-" in row for row in found) == 2
    assert sum("cluster power off" in row for row in found) == 1 + 3, "the request, and each machine"
    service.site.done("check audit")


def test_a_cluster_of_which_some_machines_fail(service: Service) -> None:
    """The audit log says which."""
    done = service.program("set", "cluster", "power", "action=install")
    assert done.returncode == 3 and "command failed: vm-one-0;" in done.stderr
    rows = json.loads(service.site.done("list audit 'user=owner of one' json=yes"))
    status = {entry["command"].partition(" (")[0]: entry["exit"] for row in rows for entry in row["audit"]}
    assert status["cluster power install"] == 3
    assert status["cluster power install vm-one-0"] == 1 and status["cluster power install vm-one-1"] == 0


@pytest.mark.slow
def test_the_cluster_of_another_owner_is_not_switched(service: Service) -> None:
    """Nor is a machine that is named besides, of another cluster; nothing runs."""
    assert "controls no cluster two" in refused(
        lambda: service.ask("cluster power", cluster="two", action="on")
    )
    assert "has no machine vm-two-0" in refused(
        lambda: service.ask("cluster power", hosts=["vm-two-0"], action="on")
    )
    assert "not one of on, off, install" in refused(lambda: service.ask("cluster power", action="boil"))
    assert not (service.folder / "switched").exists()
    assert "field request.hosts: none" in refused(lambda: service.ask("power", action="on"))


def test_an_operator_switches_a_cluster(service: Service) -> None:
    """The hosts of these machines are silent: each machine that was tried is named."""
    ended = service.site.rocks("set cluster power one action=on")
    assert (ended.status, ended.out) == (1, "")
    assert [line.split()[1] for line in ended.err.splitlines()] == ["vm-one-0", "vm-one-1"]
    error = service.site.refused("set cluster power vm-one-0 action=on")
    assert error.startswith("host name must be a frontend: host vm-one-0 is not a virtual frontend")
    error = service.site.refused("set cluster power one action=on delay=soon")
    assert "must be a floating point number" in error
    assert "invalid action" in service.site.refused("set cluster power one action=boil")


def test_signed_requests_are_in_the_audit_log(service: Service) -> None:
    service.ask("power", hosts=["vm-one-0"], action="on")
    refused(lambda: service.ask("power", hosts=["vm-two-0"], action="on"))
    service.post(b"x")
    rows = service.site.done("list audit 'user=owner of one'").splitlines()
    found = [row for row in rows if "power on" in row]
    assert len(found) == 2 and "power on vm-one-0" in found[0] and "127.0.0.1" in found[0]
    assert "user" in found[1] and "power on vm-two-0" in found[1]
    service.site.done("check audit")


def test_what_failed_is_reported_without_the_reason(service: Service) -> None:
    done = service.program("set", "host", "power", "vm-one-0", "vm-one-1", "action=install")
    assert done.returncode == 3
    assert "failed: vm-one-0;" in done.stderr and "secret" not in done.stderr + done.stdout
    assert any("secret of the site" in outcome for outcome in service.outcomes)
    rows = json.loads(service.site.done("list audit 'user=owner of one' failed=yes json=yes"))
    assert [entry["exit"] for row in rows for entry in row["audit"]] == [3], "some machines failed"


def test_commands_of_a_frontend_send_the_same_requests(service: Service) -> None:
    site, key = service.site, f"key={service.folder}/one.key"
    assert 'the "airboss" attribute is not set' in site.refused("list host macs one", key)
    site.done("set host attr localhost airboss", f"127.0.0.1:{service.port}")
    missing = site.refused("list host macs one", key)
    assert "authority is not set: add the line authority = … in /etc/rocks/airboss.conf" in missing
    own = Path(service.folder / ".airboss")
    own.write_text(
        f"name = head\n# the site's\nauthority = {service.folder}/authority/ca.crt\ncluster = one\n"
    )
    assert "must supply only one host name" in site.refused("list host macs one two", key)
    listed = site.done("list host macs one", key)
    assert "MACS IN CLUSTER" in listed and "vm-one-1" in listed
    site.done("set host power vm-one-1 action=off", key)
    assert (service.folder / "switched").read_text() == "set host power vm-one-1 action=off\n"
    ended = site.rocks("set host power vm-two-0 action=off", key)
    assert ended.status == 1 and "command failed: the cluster has no machine" in ended.err
    assert "invalid action" in site.refused("set host power vm-one-1 action=x", key)
    assert "can't access" in site.refused("list host macs one key=/nowhere/key")


def test_keys_are_made_once(service: Service) -> None:
    site, folder = service.site, service.folder
    public = site.done("create keys", f"key={folder}/rsa.key")
    assert public.startswith("-----BEGIN PUBLIC KEY-----\n") and public.count("\n") > 6
    assert (folder / "rsa.key").stat().st_mode & 0o777 == 0o400
    assert "already exists" in site.refused("create keys", f"key={folder}/rsa.key")
    assert "must supply a filename" in site.refused("create keys")
    assert "type must be" in site.refused("create keys", f"key={folder}/x", "type=dsa")
    assert not (folder / "x").exists()
    site.done("add host key one", f"key={public}")
    assert len(service.ask("list macs", key="rsa.key")["machines"]) == 3


@pytest.mark.slow
def test_of_other_clusters_an_owner_learns_nothing(service: Service) -> None:
    """A foreign machine and a missing one, a foreign cluster and a missing one, are answered alike."""
    reasons = {
        refused(lambda name=name: service.ask("power", hosts=[name], action="off")).replace(name, "X")
        for name in ("vm-two-0", "two", "vmc-0-0", "head", "missing", "../one", "compute", "rack0", "%")
    }
    assert reasons == {"the cluster has no machine X; list host macs shows all"}
    reasons = {
        refused(lambda name=name: service.ask("list macs", cluster=name)).replace(name, "X")
        for name in ("two", "missing", "one/../two", "vmc-0-0", "vm-one-0")
    }
    assert reasons == {"this key controls no cluster X"}
    assert not (service.folder / "switched").exists()
    names = {name for one in service.ask("list macs", "two", "two.key")["machines"] for name in one["names"]}
    assert names == {"two", "vm-two-0", "vm-two-1"}


def test_a_machine_of_two_clusters_is_nobodys(service: Service) -> None:
    service.site.change(
        "UPDATE networks i JOIN nodes n ON n.ID = i.Node JOIN (SELECT i.VlanID FROM networks i JOIN nodes n"
        " ON n.ID = i.Node WHERE n.Name = 'one' AND i.VlanID > 0) o SET i.VlanID = o.VlanID"
        " WHERE n.Name = 'two' AND i.VlanID > 0"
    )
    assert "no machine two" in refused(lambda: service.ask("power", hosts=["two"], action="off"))


def test_two_clusters_with_the_same_key(service: Service) -> None:
    """The key's owner controls both; each request concerns the one that it names."""
    public = service.site.database.rows(
        "SELECT k.Public_Key FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = 'one'"
    )[0][0]
    service.site.done("add host key two", f"key={public}")
    assert len(service.ask("list macs", "two")["machines"]) == 3
    assert "no machine vm-two-0" in refused(lambda: service.ask("power", hosts=["vm-two-0"], action="on"))
    document = service.document()
    assert service.post(service.signed(document))[0] == 200
    moved = service.signed(document).replace(b'"one"', b'"two"')
    assert "no valid signature" in service.post(moved)[1]


def test_a_service_that_is_not_the_sites_gets_no_request(service: Service, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=head", "-out", str(other)]
        + ["-keyout", "/dev/null"],
        check=True,
        capture_output=True,
    )
    settings = service.settings()._replace(authority=str(other))
    key = client.open_key(settings.key)
    assert "does not prove" in refused(lambda: client.ask(settings, key, "list macs"))
    settings = service.settings()._replace(name="vmc-0-0")
    assert "does not prove" in refused(lambda: client.ask(settings, key, "list macs"))
    assert service.calls == []


def test_a_name_that_means_other_hosts_too_is_not_switched(service: Service) -> None:
    service.site.change("UPDATE appliances SET Name = 'vm-one-0' WHERE Name = 'vm-container'")
    assert "other hosts" in refused(lambda: service.ask("power", hosts=["vm-one-0"], action="off"))
    assert not (service.folder / "switched").exists()


def test_without_a_database_an_owner_learns_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StateError("the schema of /secret/place is another")

    monkeypatch.setattr(Database, "rows", fail)
    status, text = service.post(b"rocks-airboss-1 " + b"0" * 64 + b" AAAA\n{}")
    assert status == 503 and "secret" not in text
    assert any("/secret/place" in line for line in service.log)


@pytest.mark.slow
def test_the_program_says_what_is_missing() -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={"HOME": "/x"},
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    assert "create keys" in run()[1]
    for arguments, reason in (
        (("list", "host", "macs"), "server is not set"),
        (("list", "host", "macs", "x=1"), "no parameter x="),
        (("list", "host", "macs", "server=x:0", "cluster=c", "authority=/x", "key=/x"), "no valid port"),
        (("set", "host", "power", "action=on"), "0 hosts are given"),
        (("create", "keys"), "must supply a filename"),
        (("create", "keys", "key=/nowhere/key"), "cannot write"),
    ):
        status, text = run(*arguments)
        assert status == 1 and reason in text, arguments
