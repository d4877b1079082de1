"""The demo from its first line to its last, again while it runs, and after it was cut off."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import libvirtd
from lab.demos.demo import Demo
from lab.demos.plan import GUEST
from lab.processes import end
from lab.progress import Progress
from lab.site import Site, SiteState
from lab.slurm.demo import DemoSlurm
from lab.system_calls import mount_points_below
from rocks.core.errors import IncoherentError
from rocks.core.process import run_checked
from tests.patience import patience
from tests.system.lab.conftest import CHECKOUT, assert_nothing_is_left, folder_of_machines

KERNEL = CHECKOUT / ".state" / "guest" / "kernel"
HAS_HOSTS_FILE = "/etc/hosts" not in mount_points_below("/etc")
"""Where a container engine has mounted it, machines of the lab cannot write it."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guests' base image is built, once."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that does not run at the first test, and goes on to the next one; taken down afterwards."""
    if not KERNEL.exists():
        pytest.skip("the guests' kernel is not unpacked: run `make setup`")
    with folder_of_machines() as folder:
        site = Site(folder / "demo", tmp_path_factory.mktemp("cache"))
        yield site
        site.tear_down()
        assert site.state() is SiteState.STOPPED
        assert_nothing_is_left(site.machine)


def run_demo(site: Site, images: Path) -> list[str]:
    """The lines that the demo prints, which a failure shows, too."""
    output: list[str] = []

    def keep(text: str) -> None:
        print(text)
        output.append(text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("lab.demos.demo._READY_DEADLINE_SECONDS", patience(120))
        Demo(site, KERNEL, images, Progress(keep)).run()
    return "\n".join(output).splitlines()


def paste(site: Site, line: str) -> str:
    """Run a line in the checkout, as its user who pastes it; returns what it printed."""
    variables = {**os.environ, "ROCKS_STATE": str(site.folder), "HOME": str(site.folder)}
    script = ["/usr/bin/env", "-C", str(CHECKOUT), "/bin/sh", "-c", line]
    return run_checked(script, deadline_seconds=patience(300), environment=variables).text


def leave_console(site: Site) -> str:
    """Open the guest's console on a terminal and press Ctrl-] until it is left; returns what it printed."""
    variables = {**os.environ, "ROCKS_STATE": str(site.folder)}
    press = "while sleep 0.3 && printf '\\035'; do :; done"
    console = f"script -qec 'bin/rocks open host console {GUEST}' /dev/null"
    script = ["/usr/bin/env", "-C", str(CHECKOUT), "/bin/sh", "-c", f"({press}) | {console}"]
    return run_checked(script, deadline_seconds=patience(30), environment=variables).text


def change_mac(site: Site, mac: str) -> None:
    """What the database has for the guest, whether or not the guest has it."""
    answer = site.rocks(["set", "host", "interface", "mac", GUEST, "eth0", mac], 60)
    assert answer.exit_status == 0, answer.error_text


def test_the_demo_ends_with_a_guest_that_reports_its_name(site: Site, images: Path) -> None:
    lines = run_demo(site, images)
    commands = [line for line in lines if line.startswith("  # bin/rocks ")]
    assert "  # bin/rocks add cluster 203.0.113.9 2 fe-name=vc1 cluster-naming=true" in commands
    assert f"  # bin/rocks start host vm {GUEST}" in commands
    assert any(line.startswith(f"  | guest ready: name={GUEST} mac=") for line in lines)
    assert any(line.startswith(f"  {GUEST}:") and " active" in line for line in lines)
    assert sum(line.startswith("  bin/rocks ") for line in lines) == 5
    assert lines[-1].endswith("`make demo-stop` ends and removes all of it.")

    pasted = [line for line in lines if line.startswith("  bin/comet ")]
    assert len(pasted) == 3
    for line in pasted:
        paste(site, line)
    assert paste(site, "  bin/comet cluster vc1 --format=csv").splitlines()[1].startswith("vc1,active,")
    assert (site.folder / "nucleus" / "token").stat().st_mode & 0o777 == 0o600
    assert paste(site, "  bin/nucleus cluster list").splitlines()[1].split() == [
        "vc1",
        "demo",
        "vc1",
        "demo-hours",
    ]
    paste(site, "  bin/comet power off vc1 --wait")

    console = leave_console(site)
    # a terminal echoes keys that are pressed before the console has it
    assert (
        re.sub(r"^(\^\])+", "", console.splitlines()[0])
        == f"serial console of {GUEST}; press Ctrl-] to leave it"
    )
    assert "error" not in console and "Authorization" not in console

    again = run_demo(site, images)
    output = [line for line in again if line.startswith("  # bin/rocks ")]
    named = ["  # bin/rocks sync dns"] * HAS_HOSTS_FILE
    assert output == ["  # bin/rocks update database", *named, "  # bin/rocks list host vm status=yes"]
    if HAS_HOSTS_FILE:
        assert "names: ok as in the database" in re.sub(" +", " ", paste(site, "bin/rocks check services"))
    assert "  it runs already; it reports every five seconds" in again

    # A guest that says something else than the database is not passed over.
    (report,) = (
        line for line in lines if line.startswith(f"As the database has it: {GUEST} with MAC address ")
    )
    change_mac(site, "02:71:00:80:00:77")
    with pytest.raises(IncoherentError, match="02:71:00:80:00:77"):
        run_demo(site, images)
    change_mac(site, report.split()[-1].rstrip("."))


def test_a_demo_that_was_killed_goes_on_where_it_was(site: Site, images: Path) -> None:
    run_demo(site, images)
    guest = libvirtd.guests(site.machine)[GUEST]
    for name in ("libvirtd", "mariadbd", "nucleus-serve", "nucleus-executor"):
        process = site.machine.daemon(name)
        assert process is not None
        end([process], grace_seconds=0)
    end([guest], grace_seconds=0)
    lines = run_demo(site, images)
    assert "vc1" in paste(site, "  bin/comet ll")
    assert "  an earlier run was interrupted; its missing programs are started again" in lines
    assert f"  # bin/rocks start host vm {GUEST}" in lines


def test_what_was_switched_off_or_killed_alone_is_started_again(site: Site, images: Path) -> None:
    """The guest, whose new log is smaller than the old one for minutes, and the executor of Nucleus."""
    run_demo(site, images)
    paste(site, f"  bin/rocks stop host vm {GUEST}")
    with site.machine.outside(f"/var/log/libvirt/qemu/{GUEST}.console.log").open("a") as log:
        log.write("as after hours\n" * 10000)
    killed = site.machine.daemon("nucleus-executor")
    assert killed is not None
    end([killed], grace_seconds=0)
    lines = run_demo(site, images)
    assert f"  # bin/rocks start host vm {GUEST}" in lines
    assert any(line.startswith(f"  | guest ready: name={GUEST} mac=") for line in lines)
    assert site.machine.daemon("nucleus-executor") is not None
    paste(site, "bin/comet power on vc1 --wait && bin/comet power off vc1 --wait")


@pytest.mark.slow
def test_the_demo_of_slurm_charges_once_and_leaves_the_demo_as_it_was(site: Site, images: Path) -> None:
    run_demo(site, images)
    output: list[str] = []
    progress = Progress(output.append)
    try:
        DemoSlurm(site, Demo(site, KERNEL, images, progress), progress).run()
    except BaseException:
        print("\n".join(output))
        raise
    text = "\n".join(output)
    assert "Waiting: not enough hosts are free" in text
    assert re.search(r"^  Charged: .* \((\d+) node seconds\)$", text, re.MULTILINE)
    assert re.search(r"^comet and sacct print one charge: \d+ node seconds\.$", text, re.MULTILINE)
    assert {"slurmctld", "slurmd", "munged", "nucleus-computesets"}.isdisjoint(
        name for name in ("slurmctld", "slurmd", "munged", "nucleus-computesets") if site.machine.daemon(name)
    )
    assert paste(site, "bin/comet cluster vc1 --format=csv").splitlines()[1].startswith("vc1,")
