"""Fresh disks for machines from images, with a real libvirt: what goes, what stays, and a command that is killed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.vms.agents import replaced_agent
from tests.system.vms.site import IMAGES, ThreeMachines
from tests.system.vms.test_seeds import cluster, seed
from tests.waiting import wait_until

__all__ = ["cluster"]

BOTH = ("fe", "vm-fe-0")
KILLING_AGENT = """\
#!/bin/sh
# Stands before the agent on a host: once, it waits {when} the agent removes a disk, until the command is killed.
[ "$*" = --serve ] || exec /opt/rocks/libexec/real-agent "$@"
wait_once() {{ [ -e {request}.seen ] || touch {request} {request}.seen; while [ -e {request} ]; do sleep 0.01; done; }}
while read -r line; do
  at=
  case $line in *'"call":"remove_image"'*) at={when} ;; esac
  [ "$at" != before ] || wait_once
  reply=$(printf '%s\\n' "$line" | /opt/rocks/libexec/real-agent)
  [ "$at" != after ] || wait_once
  printf '%s\\n' "$reply"
done
"""


@pytest.fixture
def waiting_agent(site: ThreeMachines, when: str) -> Iterator[Path]:
    """A file that vmh1 makes before or after it removes a disk, and waits until it is gone."""
    request = "/var/lib/rocks/kill-request"
    with replaced_agent(site, "vmh1", KILLING_AGENT.format(when=when, request=request)):
        yield site.machines["vmh1"].outside(request)
    site.machines["vmh1"].outside(f"{request}.seen").unlink(missing_ok=True)


def disk(site: ThreeMachines, name: str) -> Path:
    """A file of the image directory."""
    return site.machines["vmh1"].outside(IMAGES) / name


def write(site: ThreeMachines, name: str, text: bytes) -> None:
    """Write to a disk whose machine is off."""
    with disk(site, name).open("r+b") as image:
        image.write(text)


def instance(site: ThreeMachines, name: str) -> str:
    found = re.search(rb'"instance-id": "([^"]+)"', seed(site, name))
    return found[1].decode()


def records(site: ThreeMachines) -> list[list[str]]:
    """Name, UUID and addresses of all machines."""
    return site.sql(
        "SELECT n.Name, v.UUID, i.MAC, i.IP FROM vm_nodes v JOIN nodes n ON n.ID = v.Node"
        " JOIN networks i ON i.Node = n.ID ORDER BY 1, 3"
    )


def test_a_cluster_gets_fresh_disks(cluster: ThreeMachines) -> None:
    """Only the first ones; the machines are who they were, and cloud-init sets them up anew."""
    data = f"{IMAGES}/vm-fe-0.vdb"
    cluster.done(f"add host vm disk vm-fe-0 disk=file:{data},vdb,virtio disksize=1")
    cluster.done("start cluster fe")
    before, records_before = {name: instance(cluster, name) for name in BOTH}, records(cluster)
    message = cluster.refused("reinstall host vm fe")
    assert "fe may be running on vmh1: stop it (rocks stop host vm fe), or add force=yes" in message
    cluster.done("stop cluster fe")
    for name in ("fe.vda", "vm-fe-0.vda", "vm-fe-0.vdb"):
        write(cluster, name, b"used")
    dry = cluster.rocks("reinstall cluster fe dry-run=yes")
    assert dry.exit_status == 0 and "fe.vda" in dry.text + dry.error_text
    assert disk(cluster, "fe.vda").exists()

    ended = cluster.rocks("reinstall cluster fe")
    assert ended.exit_status == 0, ended.error_text
    for line in (
        "fe: its disk vda is removed; its next start makes it from the image small",
        "vm-fe-0: its disk vda is removed; its next start makes it from the image small",
        "vm-fe-0: vdb stays as before",
    ):
        assert line in ended.error_text.splitlines()
    assert not disk(cluster, "fe.vda").exists() and not disk(cluster, "vm-fe-0.vda").exists()
    cluster.done("start cluster fe")
    for name in BOTH:
        assert disk(cluster, f"{name}.vda").open("rb").read(4) == b"boot"
        assert instance(cluster, name) == f"{before[name]}-1"
    assert disk(cluster, "vm-fe-0.vdb").open("rb").read(4) == b"used"
    assert records(cluster) == records_before

    forced = cluster.rocks("reinstall cluster fe with-frontend=no force=yes")
    assert forced.exit_status == 0 and "vm-fe-0 is powered off" in forced.error_text, forced.error_text
    assert cluster.running("fe") == ["vmh1"] and cluster.running("vm-fe-0") == []
    assert disk(cluster, "fe.vda").exists() and not disk(cluster, "vm-fe-0.vda").exists()
    again = cluster.rocks("reinstall host vm vm-fe-0")
    assert "vm-fe-0 has no disk vda; its next start makes it" in again.error_text
    cluster.done("start host vm vm-fe-0")
    assert instance(cluster, "vm-fe-0") == f"{before['vm-fe-0']}-3"
    assert instance(cluster, "fe") == f"{before['fe']}-1"


def test_what_a_fresh_disk_would_lose_refuses_all(cluster: ThreeMachines) -> None:
    """One machine's obstacle, and no machine of the command is changed."""
    cluster.done("start cluster fe")
    cluster.done("save host vm vm-fe-0")
    cluster.done("stop host vm fe")
    for force in ("", " force=yes"):
        message = cluster.rocks(f"reinstall cluster fe{force}")
        assert message.exit_status == 1
        assert "vm-fe-0 is saved on vmh1" in message.error_text
        assert "rocks stop host vm vm-fe-0 saved=remove" in message.error_text
        assert "no disk of these 2 machines was removed" in message.error_text
        assert disk(cluster, "fe.vda").exists()
    cluster.done("stop host vm vm-fe-0 saved=remove")
    cluster.done("add host vm snapshot vm-fe-0 monday")
    message = cluster.refused("reinstall host vm vm-fe-0")
    assert "rocks remove host vm snapshot vm-fe-0 monday" in message
    cluster.done("remove host vm snapshot vm-fe-0 monday")

    cluster.done("add host vm vmh1 compute name=plain")
    message = cluster.refused("reinstall host vm plain")
    assert "plain has no image" in message and "rocks set host vm cdrom plain image=ISO" in message
    cluster.rocks("remove host plain")
    cluster.done("set host attr vm-fe-0 vm_image absent")
    assert "vm-fe-0 would get no disk: there is no image absent" in cluster.refused(
        "reinstall host vm vm-fe-0"
    )
    cluster.done("set host attr vm-fe-0 vm_image small")
    assert disk(cluster, "fe.vda").exists() and disk(cluster, "vm-fe-0.vda").exists()
    for name in BOTH:
        assert cluster.sql(f"SELECT 1 FROM attributes WHERE Attr = 'vm_instance' AND Value <> '{name}'") == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_command_is_completed_by_its_repetition(
    cluster: ThreeMachines, waiting_agent: Path, when: str
) -> None:
    """SIGKILL when the host is asked to remove the first disk, and when it has removed that."""
    cluster.done("start cluster fe")
    cluster.done("stop cluster fe")
    for name in BOTH:
        write(cluster, f"{name}.vda", b"used")
    command = cluster.begin("reinstall cluster fe")
    wait_until(lambda: waiting_agent.exists() or command._process.poll() is not None, seconds=120.0)
    assert waiting_agent.exists(), command.end()
    assert command.kill() == -9
    left = [name for name in BOTH if disk(cluster, f"{name}.vda").exists()]
    waiting_agent.unlink()
    assert len(left) == (2 if when == "before" else 1)
    assert cluster.sql("SELECT 1 FROM attributes WHERE Attr = 'vm_instance'") == []
    wait_until(lambda: cluster.rocks("reinstall cluster fe").exit_status == 0, seconds=120.0)
    cluster.done("start cluster fe")
    for name in BOTH:
        assert disk(cluster, f"{name}.vda").open("rb").read(4) == b"boot"
        assert instance(cluster, name).endswith("-1")
