"""A hostile host and a hostile NAS: what they send is rejected before it creates anything, or is destroyed."""

import os

import pytest

from rocks.storage.image import transfers
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.facts import SendSpec
from rocks.storage.zfs.fake import FakeSend, encode_begin
from rocks.storage.zfs.tool import Transfer
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOSTS, NAS, Node

ZVOL, HOST = "vm-vol", HOSTS[0]
MIB = 2**20

FILE_SYSTEM = encode_begin("77", None, "tank/home@one", object_set=2) + bytes(MIB)
PACKAGE = encode_begin("0", None, "tank/home@one", kind=2) + bytes(MIB)


@pytest.fixture
def site(site: DrivenSite) -> DrivenSite:
    """A NAS and two hosts with one image."""
    site.ask(wire.AddZvol("tank", ZVOL, 64 * MIB))
    return site


def send_instead(machine: Node, patch: pytest.MonkeyPatch, data: bytes) -> None:
    """Have the machine send this data instead of its snapshots."""

    def start(spec: SendSpec) -> Transfer:
        return FakeSend(spec.to_name, data, None)

    patch.setattr(machine.pools, "start_send", start)


def wait_for_reason(site: DrivenSite, *texts: str) -> None:
    """Wait until the listing of images gives this reason."""
    site.wait_for(lambda: all(text in str(site.row(ZVOL)["reason"]) for text in texts), f"{texts}")


@pytest.mark.parametrize(
    ("data", "text"), [(FILE_SYSTEM, "a file system"), (PACKAGE, "a package of streams")]
)
def test_a_nas_cannot_make_anything_but_the_copy_on_a_host(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, data: bytes, text: str
) -> None:
    """The image is blocked with the name of the NAS; the guest's disk, and the host's pool, stay as they are."""
    before = site.hosts[HOST].pools.list_volumes("tank")
    with monkeypatch.context() as patch:
        send_instead(site.nas, patch, data)
        site.map(ZVOL, HOST)
        wait_for_reason(site, f"{NAS} sent", text)
        names = {one.name for one in site.hosts[HOST].pools.list_volumes("tank")} - {
            one.name for one in before
        }
        assert all("temp-write" in name for name in names)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "local")
    site.unmap(ZVOL)


@pytest.mark.parametrize("data", [FILE_SYSTEM, PACKAGE, b"no stream at all" * 1000])
def test_a_host_cannot_make_anything_on_the_nas(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """The next attempt sends the host's real changes."""
    site.map_local(ZVOL)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", b"changed", 5 * MIB)
    before = site.nas.pools.list_volumes("tank")
    snapshots = site.nas.pools.read_history(f"tank/{ZVOL}").snapshots
    with monkeypatch.context() as patch:
        send_instead(site.hosts[HOST], patch, data)
        with pytest.raises(Exception, match=f"{HOST} sent"):
            site.unmap(ZVOL)
        assert site.nas.pools.list_volumes("tank") == before
        assert site.nas.pools.read_history(f"tank/{ZVOL}").snapshots == snapshots
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
    assert site.nas.pools.read(f"tank/{ZVOL}", 7, 5 * MIB) == b"changed"


def test_a_host_cannot_fill_the_pool_of_the_nas(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the volume can have: the transfer ends, and nothing of it stays."""
    slack_bytes = transfers._SLACK_BYTES
    monkeypatch.setattr(transfers, "_SLACK_BYTES", -63 * MIB)
    site.map_local(ZVOL)
    site.hosts[HOST].pools.write(f"tank/{ZVOL}", os.urandom(8 * MIB), 0)
    before = site.nas.pools.read_volume(f"tank/{ZVOL}")
    with pytest.raises(Exception, match=f"{HOST} sent more than .* is destroyed"):
        site.unmap(ZVOL)
    assert site.nas.pools.read_volume(f"tank/{ZVOL}") == before
    monkeypatch.setattr(transfers, "_SLACK_BYTES", slack_bytes)
    site.ask(wire.RetryZvol(ZVOL))
    site.wait_for_state(ZVOL, "unmapped")
