"""Installations by the roll's installer as the frontend sees them: plan, reports, files of the distribution."""

import hashlib
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rocks.database.connection import Database
from rocks.fleet.connection import FleetSettings
from rocks.install.installation import service as installation_service
from rocks.install.installation import states
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import HOST_ADDRESS, STATED, STRANGER, Service

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx6vyBYBbYjGRGoHJbLFWnDVRbVhRWo0RSl0VBsmGGL"
ARCHIVE = os.urandom(600_000)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetSettings:
    """Keys of this test."""
    found = FleetSettings(str(tmp_path / "ssh/key"), str(tmp_path / "ssh/known_hosts"))
    monkeypatch.setattr(installation_service, "FleetSettings", lambda: found)
    return found


@pytest.fixture
def installing(vm_site: Site, fleet: FleetSettings, tmp_path: Path, service: Service) -> Service:
    """The service with a distribution; vmc-0-0 is to be installed as a Debian host."""
    installer = tmp_path / "export/install/rocks-dist/x86_64/installer"
    installer.mkdir(parents=True)
    (installer / "root.tar.zst").write_bytes(ARCHIVE)
    (installer / "root.sha256").write_text(f"{hashlib.sha256(ARCHIVE).hexdigest()}  root.tar.zst\n")
    (installer.parent / "key.gpg").write_text("a public key")
    (installer.parent / "build").mkdir()
    (installer.parent / "build/secret.xml").write_text("a site's node file")
    vm_site.done("set host attr vmc-0-0 packaging deb")
    return service


@pytest.fixture(autouse=True)
def export(vm_site: Site, tmp_path: Path) -> None:
    """The folder of distributions."""
    vm_site.done("set attr Kickstart_DistroDir", str(tmp_path / "export"))


def _plan(service: Service) -> dict[str, str]:
    found = service.get("/install/plan", as_root=True)
    assert found.status == 200, found.text
    return dict(line.partition(" ")[::2] for line in found.text.splitlines())


def _report(service: Service, number: str, text: str, address: str = HOST_ADDRESS) -> int:
    return service.get(f"/install/progress/{number}", address, method="POST", body=text).status


def _state(site: Site) -> tuple[str, str]:
    (row,) = json.loads(site.done("list host install vmc-0-0 json=yes"))
    return row["install"][0]["state"], row["install"][0]["report"]


def test_a_host_from_its_plan_to_its_configuration(
    vm_site: Site, installing: Service, fleet: FleetSettings
) -> None:
    plan = _plan(installing)
    number = plan["installation"]
    assert re.fullmatch("[0-9a-f]{16}", number)
    assert plan["progress"].endswith(f"/install/progress/{number}")
    assert plan["archive"].endswith("/install/distro/rocks-dist/x86_64/installer/root.tar.zst")
    assert plan["archive-sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert plan["authorized-key"] == Path(f"{fleet.key_file}.pub").read_text().strip()
    assert _plan(installing)["installation"] == number

    for text, state in (
        ("started 6.1.0 BIOS", "installing"),
        ("unpacking 100 MB", "installing"),
        (f"host-key {KEY}", "installing"),
        ("installed", "installed"),
        ("installed", "installed"),
    ):
        assert _report(installing, number, text) == 200
        assert _state(vm_site) == (state, text)
    assert vm_site.done("list host boot vmc-0-0") == "ACTION\nos    \n"
    assert Path(fleet.known_hosts_file).read_text() == f"vmc-0-0,{HOST_ADDRESS} {KEY}\n"

    refused = installing.get("/install/plan", as_root=True)
    assert refused.status == 403 and "rocks set host boot vmc-0-0 action=install" in refused.reason
    assert installing.get("/install/profile", as_root=True).status == 403, "the number is not stated"
    assert installing.get(f"/install/profile/{number[::-1]}").status == 403
    profile = f"/install/profile/{number}"
    assert plan["profile"].endswith(profile)
    assert installing.get(profile).text.startswith("#!/bin/bash")
    assert _report(installing, number, "first-boot 6.1.0") == 200
    assert _report(installing, number, "first-boot-failed the profile failed") == 200
    assert _state(vm_site) == ("first boot failed", "first-boot-failed the profile failed")
    assert installing.get(profile).status == 200
    assert installing.configured == []
    for _ in range(2):
        assert _report(installing, number, "configured") == 200
        assert _report(installing, number, "first-boot 6.1.0") == 403, "else all others would wait for it"
        assert installing.configured == ["vmc-0-0"], "accounts and secret attributes follow, once"
    recorded = Path(vm_site.database.settings.state_folder) / "to-sync"
    assert [path.name for path in recorded.iterdir()] == ["vmc-0-0"], "also if the service is killed now"
    assert installing.get(profile).status == 403
    assert _report(installing, number, "started again") == 403

    vm_site.done("set host boot vmc-0-0 action=install")
    assert _state(vm_site) == ("waiting", "")
    assert _plan(installing)["installation"] != number
    assert _report(installing, number, "installed") == 403


def test_the_second_of_two_adapters_is_on_the_public_network(vm_site: Site, installing: Service) -> None:
    """Of a host of virtual machines; of three, nobody knows which."""
    number = _plan(installing)["installation"]
    second = "52:54:00:00:03:01"

    def listed() -> list[dict[str, str]]:
        return json.loads(vm_site.done("list host interface vmc-0-0 json=yes"))[0]["interface"]

    before = listed()
    own = before[0]["mac"]
    for adapters in (own, f"{own} {second} 52:54:00:00:03:02", f"{second} 52:54:00:00:03:02"):
        assert _report(installing, number, f"adapters {adapters}") == 200
        assert listed() == before
    for _ in range(2):
        assert _report(installing, number, f"adapters {own} {second}") == 200
        *others, added = listed()
        assert others == before
        assert (added["subnet"], added["iface"], added["mac"]) == ("public", "eth1", second)


def test_install_host_waits_and_names_a_host_that_failed(
    vm_site: Site, installing: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent one does not hold the others back without a word. Nothing is done on the host: what follows in a
    repaired host is in the operator's guide's test.
    """
    monkeypatch.setattr(states, "_QUIET_SECONDS", 0.0)
    number = _plan(installing)["installation"]
    reports = ("started 6.1.0 BIOS", "unpacking 100 MB", "failed the disk vda has data")

    def report() -> None:
        for text in reports:
            assert _report(installing, number, text) == 200
            time.sleep(2.5)  # the command reads every two seconds

    with ThreadPoolExecutor(1) as host:
        reported = host.submit(report)
        ended = vm_site.rocks("install host vmc-0-0")
        reported.result()
    assert "vmc-0-0: installing: unpacking 100 MB\n" in ended.out
    assert (
        "vmc-0-0: installing: unpacking 100 MB; no report for 10 minutes: Ctrl-C ends this wait" in ended.out
    )
    assert "vmc-0-0 failed: the disk vda has data; its console has a shell" in ended.err
    assert ended.status == 1 and "certificate" not in ended.out


def test_the_same_hosts_are_installed_by_one_command(vm_site: Site) -> None:
    """The second says at once which one does it; other hosts are free."""
    with Database(vm_site.database.settings) as other:
        other.lock("the installation of vmc-0-0", 0)
        began = time.monotonic()
        refused = vm_site.refused("install host vmc-0-0")
        assert time.monotonic() - began < 5
        assert "another command is at work on the installation of vmc-0-0" in refused
        assert f"(process {os.getpid()}: " in refused and ", since " in refused
        assert "the installation" not in vm_site.rocks("install host vmc-0-1 dry-run=yes").err


def test_the_time_is_that_of_the_last_change_of_state(vm_site: Site, installing: Service) -> None:
    number = _plan(installing)["installation"]
    assert _report(installing, number, "started 6.1.0 BIOS") == 200
    vm_site.change("UPDATE sec_installations SET Since = '2026-01-02 03:04:05'")
    assert _report(installing, number, "unpacking 100 MB") == 200
    listed = vm_site.done("list host install")
    assert "installing 2026-01-02 03:04:05 unpacking 100 MB" in listed
    assert _report(installing, number, "installed") == 200
    assert "2026-01-02" not in vm_site.done("list host install")


def test_an_installation_that_was_interrupted_keeps_its_number(vm_site: Site, installing: Service) -> None:
    number = _plan(installing)["installation"]
    assert _report(installing, number, "failed the disk has data") == 200
    vm_site.done("set host boot vmc-0-0 action=install")
    assert _plan(installing)["installation"] == number
    vm_site.done("set host boot vmc-0-0 action=os")
    assert vm_site.done("list host install") == ""


def test_plan_and_reports_are_the_hosts_own(vm_site: Site, installing: Service, fleet: FleetSettings) -> None:
    of_a_user = installing.get("/install/plan")
    assert of_a_user.status == 403 and "which any user can have" in of_a_user.reason
    number = _plan(installing)["installation"]
    assert _report(installing, number, "installed", STRANGER) == 403
    for path, text, status in (
        ("0" * 16, "installed", 403),
        (f"{number}/..", "installed", 403),
        (number, "", 403),
        (number, "halt", 403),
        (number, "host-key ssh-ed25519 nonsense", 403),
        (number, "host-key", 403),
        (number, "x" * 5000, 413),
    ):
        assert _report(installing, path, text) == status, text
    assert installing.get("/install/plan", method="POST", body="installed").status == 404
    assert _state(vm_site) == ("waiting", "")
    assert not Path(fleet.known_hosts_file).exists()


def test_a_site_without_the_installers_files_names_the_remedy(
    vm_site: Site, fleet: FleetSettings, service: Service
) -> None:
    found = service.get("/install/plan", as_root=True)
    assert found.status == 403 and "rocks create distro" in found.reason
    vm_site.done("set host attr vmc-0-0 packaging deb")
    assert _state(vm_site)[0] == "waiting"


def test_a_distribution_with_another_installer_than_machines_boot_is_refused(
    vm_site: Site, installing: Service, tmp_path: Path
) -> None:
    """Machines of all distributions boot kernel and installer of rocks-dist."""
    booted = tmp_path / "export/install/rocks-dist/x86_64/installer"
    (booted / "vmlinuz").write_text("kernel")
    (booted / "installer.img").write_text("image")
    shutil.copytree(booted.parent, tmp_path / "export/install/other/x86_64")
    vm_site.change("INSERT INTO distributions (Name) VALUES ('other')")
    vm_site.change(
        "UPDATE memberships SET Distribution = (SELECT ID FROM distributions WHERE Name = 'other')"
        " WHERE Name = 'VM Container'"
    )
    assert "/install/distro/other/x86_64/installer/root.tar.zst" in _plan(installing)["archive"]
    (booted / "installer.img").write_text("a newer one")
    refused = installing.get("/install/plan", as_root=True)
    assert refused.status == 403
    assert "which is not that of the distribution other" in refused.text
    assert "rocks create distro; rocks create distro dist=other; rocks sync config" in refused.text


def test_files_of_the_distribution(vm_site: Site, installing: Service) -> None:
    path = "/install/distro/rocks-dist/x86_64/installer/root.sha256"
    text = installing.get(path).text
    assert text.endswith("  root.tar.zst\n")
    vm_site.done("set host boot vmc-0-0 action=os")
    part = installing.get(path, headers={**STATED, "Range": "bytes=4-7"})
    assert (part.status, part.text, part.headers["Content-Range"]) == (
        206,
        text[4:8],
        f"bytes 4-7/{len(text)}",
    )
    assert installing.get("/install/distro/rocks-dist/x86_64/key.gpg").text == "a public key"
    for other in (
        "x86_64/build/secret.xml",
        "x86_64/installer/../build/secret.xml",
        "x86_64/installer",
        "x86_64/",
    ):
        assert installing.get(f"/install/distro/rocks-dist/{other}").status == 404
    assert installing.get(path, STRANGER).status == 403


def test_many_fetch_the_archive_at_once(installing: Service) -> None:
    path = "/install/distro/rocks-dist/x86_64/installer/root.tar.zst"
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: installing.get(path), range(12)))
    assert all(one.body == ARCHIVE for one in found)


@pytest.mark.slow
def test_hosts_that_report_at_once_all_become_known(
    vm_site: Site, installing: Service, fleet: FleetSettings
) -> None:
    addresses = [HOST_ADDRESS, *(f"127.0.1.{number}" for number in range(1, 7))]
    for number, address in enumerate(addresses[1:]):
        name = f"compute-0-{number}"
        vm_site.done("add host", name)
        mac = f"02:aa:00:00:01:0{number}"
        vm_site.done("add host interface", name, "eth0", f"mac={mac}", "subnet=private")
        vm_site.change("UPDATE networks SET IP = %s WHERE MAC = %s", (address, mac))
        vm_site.done("set host boot", name, "action=install")
    macs = ["02:aa:00:00:00:01", *(f"02:aa:00:00:01:0{number}" for number in range(6))]
    of_host = {
        address: {"X-RHN-Provisioning-MAC-0": f"eth0 {mac}"}
        for address, mac in zip(addresses, macs, strict=True)
    }
    numbers = {}
    for address, headers in of_host.items():
        plan = installing.get("/install/plan", address, headers, as_root=True).text
        numbers[address] = re.findall(r"^installation (\S+)$", plan, re.MULTILINE)[0]

    def report(address: str) -> int:
        path = f"/install/progress/{numbers[address]}"
        return installing.get(path, address, of_host[address], "POST", f"host-key {KEY}").status

    with ThreadPoolExecutor(len(addresses)) as pool:
        assert set(pool.map(report, addresses)) == {200}
    known = Path(fleet.known_hosts_file).read_text()
    assert [address for address in addresses if f",{address} {KEY}\n" not in known] == []
