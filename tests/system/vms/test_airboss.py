"""The owners' remote control with real guests: an owner's machine has a network of its own, joined by veth."""

import re
import shutil
import socket
import subprocess  # noqa: TID251 - the owner's program runs beside the test
from collections.abc import Iterator

import pytest

from lab.namespace import Machine
from rocks.core.process import Finished, end_group, run, run_checked, start_with_pipes
from tests.system.vms.site import CHECKOUT, LAUNCHER, ThreeMachines
from tests.waiting import wait_until

SITE_ADDRESS, CLUSTER_ADDRESS = "198.18.77.1", "198.18.77.2"
PROGRAM = "/opt/rocks/airboss"
LONG_SECONDS = 180.0


class Owner:
    """A machine of the cluster `one`: the owner's program, key and settings, and nothing of ours."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def command(self, line: str) -> list[str]:
        """The program with its settings, as a process of the cluster's machine."""
        given = [f"server={SITE_ADDRESS}", "name=head", "cluster=one"]
        given += ["authority=/opt/rocks/site.crt", "key=/opt/rocks/one.key"]
        return self.machine.command(["/usr/bin/python3", "-I", PROGRAM, *line.split(), *given])

    def run(self, line: str) -> Finished:
        return run(self.command(line), deadline_seconds=LONG_SECONDS)

    def done(self, line: str) -> str:
        finished = self.run(line)
        assert finished.exit_status == 0, f"{line}: {finished.error_text}"
        return finished.text

    def begin(self, line: str) -> subprocess.Popen[bytes]:
        return start_with_pipes(self.command(line))


def join(head: Machine, machine: Machine) -> None:
    """A pair of veth between the networks of the two machines."""
    init = machine.init()

    def ip(line: str) -> None:
        run_checked(["ip", *line.split()], deadline_seconds=60)

    def site_end() -> None:
        ip(f"link add owners0 type veth peer name owners1 netns {init.process_id}")
        ip(f"address add {SITE_ADDRESS}/30 dev owners0")
        ip("link set owners0 up")

    def cluster_end() -> None:
        ip(f"address add {CLUSTER_ADDRESS}/30 dev owners1")
        ip("link set owners1 up")

    head.in_network(site_end)
    machine.in_network(cluster_end)


@pytest.fixture
def owner(site: ThreeMachines) -> Iterator[Owner]:
    """The cluster `one` on the site, the service, and a machine of the owner's."""
    head, machine = site.machines["head"], Machine(site.folder / "owner")
    machine.folder.mkdir(mode=0o755)
    machine.start()
    try:
        join(head, machine)
        site.done("set host attr vmh1 vlan_transport local")
        site.done("add host certificate head")
        site.done(
            "add cluster 203.0.113.77 1 fe-name=one cluster-naming=yes container-hosts=vmh1 fe-container=vmh1"
            " mem-per-compute=64 disk-per-compute=1 disk-per-frontend=1"
        )
        inside = machine.outside("/opt/rocks")
        shutil.copy(CHECKOUT / "src/rocks/site/airboss/client.py", inside / "airboss")
        shutil.copy(head.outside("/etc/rocks/pki/authority/ca.crt"), inside / "site.crt")
        created = machine.run_checked(
            ["/usr/bin/python3", "-I", PROGRAM, "create", "keys", "key=/opt/rocks/one.key", "type=ed25519"],
            LONG_SECONDS,
        )
        public = head.outside("/opt/rocks/one.pub")
        public.write_text(created.text)
        site.done("add host key one key=/opt/rocks/one.pub")
        packages = next((CHECKOUT / ".state/venv/lib").glob("python3.*/site-packages"))
        variables = [f"ROCKS_LAUNCHER={CHECKOUT / 'bin/rocks'}", f"ROCKS_SITE_PACKAGES={packages}"]
        service = ["start", "service", "airboss", f"address={SITE_ADDRESS}"]
        head.start_daemon("airboss", ["/usr/bin/env", *variables, *LAUNCHER, *service])
        wait_until(lambda: "listening" in (head.log_folder / "airboss.log").read_text(), seconds=LONG_SECONDS)
        yield Owner(machine)
    finally:
        head.stop_daemon("airboss", 20.0)
        machine.stop()
        shutil.rmtree(machine.folder, ignore_errors=True)
        for line in (
            "remove cluster one disks=remove",
            "remove host attr vmh1 vlan_transport",
            "remove host certificate head",
        ):
            site.rocks(line, LONG_SECONDS)


def test_an_owner_starts_sees_and_stops_a_machine(site: ThreeMachines, owner: Owner) -> None:
    """Power and status; the screen in both directions; a console ends when its key is removed."""
    owner.done("set host power vm-one-0 action=on")
    assert site.running("vm-one-0") == ["vmh1"]
    listed = {
        line.split()[-1]: line.split()[1] for line in owner.done("list host macs status=yes").splitlines()
    }
    assert listed["vm-one-0"] in ("active", "paused") and listed["one"] == "nostate"

    printed = owner.begin("open host console vm-one-0 type=vnc")
    try:
        line = printed.stderr.readline().decode()
        found = re.search(r"the screen is at (\S+) until", line)
        assert found is not None, line
        with socket.socket(socket.AF_UNIX) as screen:
            screen.settimeout(LONG_SECONDS)
            screen.connect(found.group(1))
            greeting = screen.recv(12)
            assert greeting.startswith(b"RFB 003.")
            screen.sendall(greeting)
            assert screen.recv(16), (
                "the kinds of security, which the server sends after the client's greeting"
            )
    finally:
        end_group(printed)

    opened = owner.begin("open host console vm-one-0")
    try:
        assert b"press Ctrl-]" in opened.stderr.readline()
        opened.stdin.write(b"typed\n~?~.\n")
        opened.stdin.flush()
        ((number,),) = site.sql(
            "SELECT k.ID FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = 'one'"
        )
        site.done(f"remove host key one id={number}")
        opened.wait(LONG_SECONDS)
    finally:
        end_group(opened)
    refused = owner.run("set host power vm-one-0 action=off")
    assert refused.exit_status == 1 and "no valid signature" in refused.error_text
    assert site.running("vm-one-0") == ["vmh1"]

    site.done("add host key one key=/opt/rocks/one.pub")
    owner.done("set host power vm-one-0 action=off")
    assert site.running("vm-one-0") == []
