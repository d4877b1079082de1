"""Changes of a host reach the NAS, whatever comes between."""

import os
from typing import Any

import pytest

from rocks.core.errors import BusyError, HostError, IncoherentError, StateError, ToolError
from rocks.storage.image.transfers import MAX_TRIES
from rocks.storage.nas import transfers as nas_transfers
from rocks.storage.wire import requests as wire
from rocks.storage.zfs.facts import SendSpec, SnapshotFact
from rocks.storage.zfs.tool import Transfer
from tests.unit.storage.daemons.driven_site import DrivenSite
from tests.unit.storage.daemons.nodes import HOST, OTHER_HOST, Node

ZVOL = "vm-vc1-0-vol"

pytestmark = pytest.mark.usefixtures("nothing_left")


class Gate:
    """Until it is opened, everything that a node sends fails."""

    def __init__(self, node: Node, patch: pytest.MonkeyPatch) -> None:
        self.is_open = False
        self.attempts = 0
        send = node.pools.start_send

        def guarded(spec: SendSpec) -> Transfer:
            self.attempts += 1
            if not self.is_open:
                raise ToolError("zfs send: input/output error")
            return send(spec)

        patch.setattr(node.pools, "start_send", guarded)


def test_f1_what_is_written_during_a_pull_is_written_back(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unmap comes while the pull sends an older snapshot; the last write still reaches the NAS."""
    host = site.map_local("f1-vol")
    host.pools.write("tank/f1-vol", b"first", 4096)
    send, unmaps = host.pools.start_send, list[str]()

    def sending(spec: SendSpec) -> Transfer:
        if not unmaps:
            host.pools.write("tank/f1-vol", b"after the pull's snapshot", 8192)
            unmaps.append(site.send(wire.UnmapZvol("f1-vol")))
        return send(spec)

    monkeypatch.setattr(host.pools, "start_send", sending)
    pull = site.send(wire.PullZvol("f1-vol"))
    site.wait_for(lambda: bool(unmaps), "a pull")
    assert site.state("f1-vol") == "pulling" and not site.has_answer(unmaps[0])
    site.answer(unmaps[0])
    assert site.has_answer(pull)
    assert site.nas.pools.read("tank/f1-vol", 25, 8192) == b"after the pull's snapshot"


def test_f2_f4_f22_a_return_that_fails_is_tried_again(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the image is written back, the copy stays, the host owns it and no success is reported."""
    host = site.map_local("f2-vol")
    host.pools.write("tank/f2-vol", b"only here", 4096)
    gate = Gate(host, monkeypatch)
    unmap = site.send(wire.UnmapZvol("f2-vol"))
    site.wait_for(lambda: gate.attempts == 3, "three attempts")
    assert not site.has_answer(unmap)
    image = site.image("f2-vol")
    assert (image.state, image.owner) == ("returning", HOST)
    assert host.pools.read("tank/f2-vol", 9, 4096) == b"only here"
    assert site.nas.pools.read("tank/f2-vol", 9, 4096) != b"only here"
    with pytest.raises(BusyError, match="f2-vol is busy"):
        site.map("f2-vol", OTHER_HOST)
    gate.is_open = True
    site.answer(unmap)
    assert site.nas.pools.read("tank/f2-vol", 9, 4096) == b"only here"


def foreign(site: DrivenSite, name: str) -> SnapshotFact:
    """A snapshot by a program that copies the pool of the NAS."""
    fact = site.nas.pools.read_volume(f"tank/{ZVOL}")
    assert fact is not None
    return site.nas.pools.ensure_snapshot(fact.name, fact.guid, name, {})


def test_f13_changes_wait_for_a_foreign_snapshot_on_the_nas(site: DrivenSite) -> None:
    """ZFS takes nothing behind it, and nothing is rolled back. The image is not blocked, names it, and goes on without
    it. The NAS retains older snapshots, which its host has no more.
    """
    host = site.map_local(ZVOL)
    for number in range(3):
        host.pools.write(f"tank/{ZVOL}", b"%d" % number, 8192)
        site.ask(wire.PullZvol(ZVOL))
    made = foreign(site, "by-hand")
    host.pools.write(f"tank/{ZVOL}", b"goes on", 4096)
    pull = site.send(wire.PullZvol(ZVOL))
    site.wait_for(lambda: site.image(ZVOL).tries > MAX_TRIES + 2, "tries")
    assert site.state(ZVOL) in ("local", "pulling") and site.image(ZVOL).faults == 0
    unmap = site.send(wire.UnmapZvol(ZVOL))
    site.wait_for(lambda: bool(site.image(ZVOL).unmap_ids), "unmap recorded")
    text = "has the snapshots by-hand of another program after img-"
    site.wait_for(lambda: text in site.row(ZVOL)["reason"], "reason")
    site.nas.pools.ensure_snapshot_gone(f"tank/{ZVOL}", made.name, made.guid)
    site.answer(unmap)
    assert site.has_answer(pull) and site.state(ZVOL) == "unmapped"
    assert site.nas.pools.read(f"tank/{ZVOL}", 7, 4096) == b"goes on"


def test_a_map_uses_no_snapshot_of_another_program(site: DrivenSite) -> None:
    """Although the disk equals it: it goes when that program has copied the pool."""
    site.map_local(ZVOL)
    site.ask(wire.UnmapZvol(ZVOL))
    made = foreign(site, "by-hand")
    host = site.map_local(ZVOL)
    site.nas.pools.ensure_snapshot_gone(f"tank/{ZVOL}", made.name, made.guid)
    host.pools.write(f"tank/{ZVOL}", b"goes back", 4096)
    site.ask(wire.UnmapZvol(ZVOL))
    assert site.nas.pools.read(f"tank/{ZVOL}", 9, 4096) == b"goes back"


def cut_pull(site: DrivenSite, zvol: str, patch: pytest.MonkeyPatch) -> Gate:
    """A pull ends in the middle of its stream; from then on the host can send nothing."""
    host = site.map_local(zvol)
    host.pools.write(f"tank/{zvol}", os.urandom(6_000_000), 4096)
    gate = Gate(host, patch)
    gate.is_open = True
    host.pools.cut_next_send(3_000_000)
    site.send(wire.PullZvol(zvol))
    site.wait_for(lambda: gate.attempts == 1, "an attempt")
    gate.is_open = False
    volume = site.nas.pools.read_volume(f"tank/{zvol}")
    assert volume is not None and volume.resume_token is not None
    return gate


@pytest.mark.parametrize("has_foreign_snapshot", [False, True])
def test_a_complete_pull_without_its_answer_is_discarded_with_the_rest(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch, has_foreign_snapshot: bool
) -> None:
    """The NAS has its snapshot and has not recorded it. A person's snapshot of it is not destroyed."""
    host = site.map_local("cut-vol")
    host.pools.write("tank/cut-vol", b"discarded", 4096)
    lost: list[str] = []

    def send_line(writer: Any, fields: Any) -> None:
        if "received" in fields:
            lost.append(fields["received"])
            raise HostError("cut")
        real(writer, fields)

    real = nas_transfers.send_line
    pools = site.nas.pools
    with monkeypatch.context() as patch:
        patch.setattr(nas_transfers, "send_line", send_line)
        site.send(wire.PullZvol("cut-vol"))
        site.wait_for(lambda: bool(lost) and site.state("cut-vol") == "local", "a cut")
        assert pools.read("tank/cut-vol", 9, 4096) == b"discarded"
        site.ask(wire.SetZvolAttrs("cut-vol", (("persistent", "no"),)))
        if has_foreign_snapshot:
            guid = pools.read_volume("tank/cut-vol").guid
            made = pools.ensure_snapshot("tank/cut-vol", guid, "by-hand", {})
            with pytest.raises(StateError, match="cut-vol@by-hand has changes of a pull"):
                site.unmap("cut-vol")
            assert pools.read("tank/cut-vol", 9, 4096) == b"discarded"
            pools.ensure_snapshot_gone("tank/cut-vol", made.name, made.guid)
            site.ask(wire.RetryZvol("cut-vol"))
            site.wait_for_state("cut-vol", "unmapped")
        else:
            tries: list[str] = []

            def roll_back(name: str, *values: Any) -> Any:
                tries.append(name)
                if len(tries) == 1:
                    raise ToolError("zfs rollback does not end")
                return rolled_back(name, *values)

            rolled_back = pools.ensure_rolled_back
            patch.setattr(pools, "ensure_rolled_back", roll_back)
            site.unmap("cut-vol")  # a failure is repeated
            assert len(tries) == 2
    for side in (pools, host.pools):
        assert side.read("tank/cut-vol", 9, 4096) == bytes(9)
    newest = [side.read_history("tank/cut-vol").newest for side in (pools, host.pools)]
    assert {one.guid for one in newest if one is not None} == {site.image("cut-vol").base_guid}


def test_a_pull_that_was_cut_is_discarded_with_the_rest(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the image is no longer persistent: nothing of the pull stays, on either side, and its unmap ends."""
    gate = cut_pull(site, "cut-vol", monkeypatch)
    site.ask(wire.SetZvolAttrs("cut-vol", (("persistent", "no"),)))
    site.unmap("cut-vol")
    sides = (site.nas.pools, site.hosts[HOST].pools)
    for pools in sides:
        volume = pools.read_volume("tank/cut-vol")
        assert volume is not None and volume.resume_token is None
        assert pools.read("tank/cut-vol", 64, 4096) == bytes(64)
    newest = [pools.read_history("tank/cut-vol").newest for pools in sides]
    assert len({one.guid for one in newest if one is not None}) == 1
    gate.is_open = True
    site.ask(wire.SetZvolAttrs("cut-vol", (("persistent", "yes"),)))
    host = site.map_local("cut-vol")
    host.pools.write("tank/cut-vol", b"stays", 4096)
    site.unmap("cut-vol")
    assert site.nas.pools.read("tank/cut-vol", 5, 4096) == b"stays"


def test_a_snapshot_of_a_person_is_not_discarded(site: DrivenSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by hand on the host, after the cut pull: the unmap names it; after its removal it ends."""
    cut_pull(site, "mine-vol", monkeypatch)
    site.ask(wire.SetZvolAttrs("mine-vol", (("persistent", "no"),)))
    pools = site.hosts[HOST].pools
    fact = pools.read_volume("tank/mine-vol")
    assert fact is not None
    made = pools.ensure_snapshot("tank/mine-vol", fact.guid, "by-hand", {})
    with pytest.raises(IncoherentError, match="the newest snapshot of tank/mine-vol is by-hand"):
        site.unmap("mine-vol")
    pools.ensure_snapshot_gone("tank/mine-vol", made.name, made.guid)
    site.ask(wire.RetryZvol("mine-vol"))
    site.wait_for_state("mine-vol", "unmapped")


def test_f9_a_restart_of_both_daemons_strands_nothing(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They restart during the final return; no request follows."""
    host = site.map_local("f9-vol")
    host.pools.write("tank/f9-vol", b"on its way", 4096)
    gate = Gate(host, monkeypatch)
    unmap = site.send(wire.UnmapZvol("f9-vol"))
    site.wait_for(lambda: gate.attempts > 0, "an attempt")
    assert site.state("f9-vol") == "returning"
    for node in (site.nas, host):
        node.die()
        node.start()
    gate.is_open = True
    site.answer(unmap)
    assert site.nas.pools.read("tank/f9-vol", 10, 4096) == b"on its way"


def test_a_guest_that_writes_after_the_final_snapshot_loses_nothing(site: DrivenSite) -> None:
    """The return was cut, and the host, which has lost its records, has made the device again: `clean` saves all."""
    host = site.map_local("again-vol")
    host.pools.write("tank/again-vol", b"first", 0)
    host.pools.cut_next_send(1)
    site.send(wire.UnmapZvol("again-vol"))
    site.wait_for(lambda: "was ended by signal" in site.row("again-vol")["reason"], "cut")
    host.lose_power()
    host.forget_records()
    host.start()
    assert host.dm_devices.read("again-vol-snap") is not None
    host.pools.write("tank/again-vol", b"later", 4096)
    site.wait_for(lambda: site.state("again-vol") != "returning", "ended")
    assert site.state("again-vol") == "blocked"
    assert "bytes written since its final snapshot img-1-" in site.row("again-vol")["reason"]
    site.ask(wire.RetryZvol("again-vol"))
    site.wait_for_state("again-vol", "unmapped")
    assert site.nas.pools.read("tank/again-vol", 5, 4096) == b"later"
    assert site.leftovers() == []


def test_a_snapshot_of_another_program_behind_the_last_changes_is_no_contradiction(
    site: DrivenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken as soon as they have arrived, before the NAS confirms them."""
    host = site.map_local(ZVOL)
    host.pools.write(f"tank/{ZVOL}", b"changed", 0)
    receive = nas_transfers.receive_all

    def receive_all(*arguments: Any) -> None:
        receive(*arguments)
        foreign(site, f"hourly-{site.image(ZVOL).sequence}")

    with monkeypatch.context() as patch:
        patch.setattr(nas_transfers, "receive_all", receive_all)
        site.unmap(ZVOL)
    assert site.nas.pools.read(f"tank/{ZVOL}", 7, 0) == b"changed"
    assert site.nas.pools.read_history(f"tank/{ZVOL}").snapshots[-1].name.startswith("hourly-")
    site.map_local(ZVOL)
    host.pools.write(f"tank/{ZVOL}", b"again", 0)
    site.unmap(ZVOL)
    assert site.nas.pools.read(f"tank/{ZVOL}", 5, 0) == b"again"
