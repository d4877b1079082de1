"""The files of the boot service follow the database; a real dnsmasq reads its configuration."""

import gzip
import shutil
import signal
from pathlib import Path

import pytest

from rocks.core.process import run, run_checked
from rocks.install.boot import files as boot_files
from rocks.install.boot import service as boot_service
from rocks.install.installation.service import create_first_stage_service
from rocks.storage.broker import broker as message_broker
from tests.servers import answering
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import ADDRESS, DEVICE, FAR, FAR_MAC, start_service
from tests.waiting import wait_until

HOST, MAC = "vmc-0-0", FAR_MAC
STATE = "rocks set host attr head boot_service yes, which states that the network private has no other DHCP server"


class KilledError(BaseException):
    """Stands for kill -9: nothing of a command handles it."""


def _script(folders: tuple[Path, Path], mac: str = MAC) -> str:
    return (folders[0] / f"hosts/{mac.replace(':', '-')}.ipxe").read_text()


@pytest.mark.slow
def test_the_next_boot_is_written_at_once(served: Site, folders: tuple[Path, Path]) -> None:
    tftp, running = folders
    assert (running / "hosts").read_text() == f"{MAC},10.1.0.2,{HOST}\n52:54:00:00:00:04,10.1.0.3,vmc-0-1\n"
    assert sorted(path.name for path in tftp.glob("hosts/*")) == [
        "52-54-00-00-00-03.ipxe",
        "52-54-00-00-00-04.ipxe",
    ]
    assert "sanboot" in _script(folders)
    served.done("set host boot", HOST, "action=install")
    assert "rocks.plan=https://10.1.0.1/install/plan" in _script(folders)
    assert "sanboot" in _script(folders, "52:54:00:00:00:04")
    served.done("set host boot", HOST, "action=os")
    assert "sanboot" in _script(folders)
    served.done("set host attr", HOST, "packaging", "rpm")
    served.done("set host boot", HOST, "action=install")
    assert "kernel tftp://10.1.0.1/vmlinuz ks kssendmac initrd=initrd.img\n" in _script(folders)
    served.done("set host interface mac", HOST, "eth0", "52:54:00:00:00:33")
    served.done("sync config")
    assert not (tftp / "hosts/52-54-00-00-00-03.ipxe").exists()
    assert "52:54:00:00:00:33,10.1.0.2" in (running / "hosts").read_text()
    served.done("remove host vmc-0-1")
    assert (running / "hosts").read_text() == f"52:54:00:00:00:33,10.1.0.2,{HOST}\n"
    assert [path.name for path in tftp.glob("hosts/*")] == ["52-54-00-00-00-33.ipxe"]


@pytest.mark.slow
def test_dnsmasq_is_informed_by_the_next_command_after_one_that_was_killed_before(
    served: Site, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went on with the old addresses until the hosts changed again."""
    informed: list[str] = []

    def killed() -> None:
        raise KilledError

    served.done("set host interface mac", HOST, "eth0", "52:54:00:00:00:33")
    monkeypatch.setattr(boot_files, "_inform_dnsmasq", killed)
    with pytest.raises(KilledError):
        served.rocks("sync config")
    assert "52:54:00:00:00:33,10.1.0.2" in (folders[1] / "hosts").read_text()
    monkeypatch.setattr(boot_files, "_inform_dnsmasq", lambda: informed.append("killed before"))
    served.done("sync config")
    assert informed == ["killed before"]
    served.done("sync config")
    assert informed == ["killed before"], "nothing has changed since"
    assert not (folders[1] / "unread").exists()


def test_the_files_stay_while_the_frontend_has_no_address(served: Site, folders: tuple[Path, Path]) -> None:
    """An operator corrects the frontend's device; any change of a host's boot, meanwhile, removed all files."""
    before = {path: path.read_text() for path in (folders[1] / "hosts", *folders[0].glob("hosts/*"))}
    assert (
        "eth0 of head is used by the hosts of the site" in served.rocks("remove host interface head eth0").err
    )
    ended = served.rocks("set host boot", HOST, "action=install")
    assert ended.status == 1 and "were not written; changes of the database are stored: " in ended.err
    assert "rocks add host interface head DEVICE ip=ADDRESS subnet=private (" in ended.err
    assert "then rocks sync config" in ended.err
    assert {path: path.read_text() for path in before} == before
    served.done("add host interface head", DEVICE, f"ip={ADDRESS}", "subnet=private")
    served.done("sync config")
    assert (
        "rocks.plan=" in _script(folders)
        and (folders[1] / "hosts").read_text() == before[folders[1] / "hosts"]
    )


def test_a_full_disk_is_named_with_what_completes_the_change(
    served: Site, folders: tuple[Path, Path]
) -> None:
    scripts = folders[0] / "hosts"
    run_checked(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(scripts)], deadline_seconds=10)
    try:
        ended = served.rocks("set host boot", HOST, "action=install")
    finally:
        run_checked(["umount", str(scripts)], deadline_seconds=10)
    assert ended.status == 1 and f"cannot write files in {scripts}: No space left on device" in ended.err
    assert "; then: rocks sync config" in ended.err
    served.done("sync config")
    assert "rocks.plan=" in _script(folders)


def test_a_host_that_gets_no_answer_is_named(served: Site) -> None:
    served.done("add host compute-0-9")
    ended = served.rocks("set host boot compute-0-9", HOST, "action=install")
    assert ended.status == 0 and len(ended.err.splitlines()) == 1
    assert ended.err.startswith("compute-0-9 has no IP and MAC address on the network private")
    served.done("set host boot compute-0-9 action=os")


@pytest.mark.slow
def test_the_frontend_is_not_installed_by_itself(served: Site, folders: tuple[Path, Path]) -> None:
    """Nor with the others, by a wildcard."""
    for selectors in (["head"], ["%"], [HOST, "localhost"]):
        message = served.refused("set host boot", *selectors, "action=install")
        assert message.startswith("head is this machine, which installs the others")
    served.done("set host boot head action=os")


def test_an_installer_that_the_distribution_lost_is_not_served(
    served: Site, folders: tuple[Path, Path]
) -> None:
    """The os roll was disabled, and the distribution made again."""
    copies = [folders[0] / "installer" / name for name in ("vmlinuz", "installer.img")]
    assert all(copy.is_file() for copy in copies)
    sources = folders[0].parent / "export/install/rocks-dist/x86_64/installer"
    (sources / "vmlinuz").unlink()
    (sources / "installer.img").unlink()
    for removed in (True, False):
        lines = served.rocks("sync config").err.splitlines()
        assert len(lines) == 2
        for line, copy in zip(lines, copies, strict=True):
            assert f"{sources / copy.name} is not there, so no host can be installed" in line
            assert (f"removed the old {copy}" in line) == removed
        assert not any(copy.exists() for copy in copies)


def test_first_stage_files_are_copied(served: Site, folders: tuple[Path, Path]) -> None:
    tftp = folders[0]
    assert (tftp / "installer/vmlinuz").read_text() == "kernel"
    assert b"BEGIN CERTIFICATE" in gzip.decompress((tftp / "installer/site.img").read_bytes())
    assert (tftp / "undionly.kpxe").stat().st_size > 50_000 < (tftp / "snponly.efi").stat().st_size
    assert all(path.stat().st_mode & 0o4 for path in tftp.rglob("*"))
    report = served.done("report host dhcpd")
    assert f"interface={DEVICE}\n" in report and f"{MAC},10.1.0.2,{HOST}\n" in report
    done = run(["dnsmasq", "--test", f"--conf-file={folders[1]}/dnsmasq.conf"], deadline_seconds=10)
    assert done.exit_status == 0, done.error_text


def test_first_stage_files_by_plain_http(served: Site) -> None:
    log: list[str] = []
    server = create_first_stage_service(served.database, log.append)
    assert server is not None, log
    with answering(server):
        assert create_first_stage_service(served.database, log.append) is None
        assert "port 80: Address already in use: machines fetch kernel and installer by TFTP" in log[0]
        place = f"http://{ADDRESS}/install/boot"
        found = [
            run(["curl", "-s", "--path-as-is", "-w", "%{http_code}", *more], deadline_seconds=20).text
            for more in (
                [f"{place}/vmlinuz"],
                ["-r", "1-2", f"{place}/installer.img"],
                [f"{place}/../vmlinuz"],
                [f"{place}/root.tar.zst"],
                ["-d", "x", f"{place}/vmlinuz"],
                [f"http://{ADDRESS}/install/plan"],
            )
        ]
    assert found[:2] == ["kernel200", "ma206"]
    assert all(one.endswith("404") for one in found[2:])


def test_a_machine_that_is_not_on_the_network_private_serves_nothing(
    vm_site: Site, folders: tuple[Path, Path]
) -> None:
    vm_site.done("set host attr head boot_service yes")
    refused = vm_site.refused("start service boot")
    assert "no device of this machine has the address 10.1.0.1" in refused
    ended = vm_site.rocks("sync config")
    assert ended.status == 0 and STATE in ended.err
    assert not folders[0].exists()
    vm_site.done("set attr site_demo yes")
    printed = vm_site.rocks("sync config").err
    assert "a demo has no boot service" in printed and STATE not in printed, "it changed this machine"


@pytest.mark.slow
@pytest.mark.parametrize("value", ["", "no", "maybe"])
def test_nothing_starts_dhcp_before_the_operator_stated_that_there_is_no_other(
    served: Site, folders: tuple[Path, Path], value: str
) -> None:
    """With all else that it needs; each command and check that can lead to it names the statement first."""
    served.patch.setattr(
        boot_service, "replace_this_process", lambda arguments: pytest.fail(f"started {arguments}")
    )
    if value:
        served.set_as_before("boot_service", value)
    assert STATE in served.refused("start service boot")
    shutil.rmtree(folders[0])
    assert STATE in served.refused("discover host") and STATE in served.rocks("sync config").err


def test_a_frontend_without_a_certificate_begins_no_service(
    vm_site: Site, folders: tuple[Path, Path], network: None, tmp_path: Path
) -> None:
    vm_site.patch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "none"))
    vm_site.done("set attr Kickstart_PrivateHostname head")
    vm_site.done("set host attr head boot_service yes")
    refused = vm_site.refused("start service boot")
    assert "head has no certificate: run `rocks add host certificate head` first" in refused
    assert not folders[0].exists() and not folders[1].exists()


@pytest.mark.slow
def test_dnsmasq_answers_known_hosts_only(
    served: Site, pki: Path, folders: tuple[Path, Path], cluster_environment: dict[str, str], tmp_path: Path
) -> None:
    served.done("set host attr head boot_service yes")
    with (tmp_path / "log").open("wb") as log:
        process = start_service("boot", pki, cluster_environment, log)
    printed = (tmp_path / "log").read_text
    try:
        wait_until((folders[1] / "dnsmasq.pid").exists, problem=printed)
        assert "dnsmasq runs here until Ctrl-\\, and ignores Ctrl-C; in the background: " in printed()
        assert _lease() == "10.1.0.2"
        served.done("set host interface mac", HOST, "eth0", "52:54:00:00:00:99")
        served.done("sync config")
        wait_until(lambda: _lease(tries=3) == "", printed)  # dnsmasq reads its hosts when it has the signal
        served.done("set host interface mac", HOST, "eth0", MAC)
        served.done("set host boot", HOST, "action=install")
        wait_until(lambda: _lease() == "10.1.0.2", printed)
        fetched = run(["curl", "-s", f"tftp://{ADDRESS}/hosts/52-54-00-00-00-03.ipxe"], deadline_seconds=20)
        assert fetched.text == _script(folders)
        process.send_signal(signal.SIGQUIT)
        assert process.wait(120) == -signal.SIGQUIT, "as printed"
    finally:
        process.kill()
        process.wait()


def _lease(tries: int = 10) -> str:
    """The address that the other end of the wire gets within so many seconds, or ''."""
    done = run(
        ["busybox", "udhcpc", "-f", "-q", "-n", "-t", str(tries), "-T", "1", "-i", FAR, "-s", "/bin/true"],
        deadline_seconds=30,
    )
    fields = done.error_text.split()
    return fields[fields.index("lease") + 2].rstrip(",") if "obtained" in fields else ""
