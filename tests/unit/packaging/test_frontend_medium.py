"""What is on the medium from which a machine becomes a frontend."""

import re
import sys

from lab.namespace import CHECKOUT
from rocks.core.process import run_checked


def test_it_has_what_the_graph_names_for_a_frontend() -> None:
    """With each attribute of a frontend, for no network is there for its profile; without the roles of hosts."""
    build = (CHECKOUT / "roll/frontend/build").read_text("utf-8")
    found = re.search(r'"\$top/graphs/default" (server .*(?:\n .*)?)\)', build.replace("\\\n", ""))
    assert found
    program = [sys.executable, str(CHECKOUT / "roll/os/node-packages"), str(CHECKOUT / "nodes")]
    listed = run_checked(
        [*program, str(CHECKOUT / "graphs/default"), *found[1].split()],
        deadline_seconds=60,
        environment={"PYTHONPATH": str(CHECKOUT / "src")},
    )
    names = set(listed.text.split())
    assert {"bind9", "dnsmasq-base", "nftables", "openssh-server", "rabbitmq-server", "slurmctld"} <= names
    assert not names & {"libvirt-daemon-system", "qemu-system-x86", "rocks-agent", "zfsutils-linux"}
