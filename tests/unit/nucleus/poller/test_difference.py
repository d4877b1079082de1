"""What a poll changes."""

from datetime import UTC, datetime, timedelta

from nucleus.backends.rocks_output import Image, Machine, Member
from nucleus.mirror.observations import KnownCluster, KnownNode, NodeValues
from nucleus.poller.difference import Known, Listed, compare, hosts_of
from nucleus.records import Interface, NewEvent

_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ETH = Interface("eth0", "52:54:00:00:00:0a", "10.1.3.1", "255.255.255.0", "private", 3)
_OFF = NodeValues("compute", "host-0", 2, 2048, 36, "nostate", "unmapped", False, last_power="off")
_VC1, _FE, _VM = 1, 10, 11
_CLUSTER = KnownCluster("vc1", "vc1", 5, 3, False)
_NODE = KnownNode("n0", "vm-vc1-0", _VC1, _OFF, (_ETH,), 0, False, None)
_FRONT = KnownNode("vc1", "vc1", _VC1, NodeValues("frontend"), (), 0, False, None)
_KNOWN = Known({_VC1: _CLUSTER}, {_FE: _FRONT, _VM: _NODE})
_MACHINE = Machine("host-0", 2, 2048, 36, "nostate", None)
_FRONT_MACHINE = Machine(None, None, None, None, None, None)
_LISTED = Listed(
    [Member("vc1", "vc1"), Member("vm-vc1-0", "vc1")],
    {"vc1": (), "vm-vc1-0": (_ETH,)},
    {},
    {"vc1": _FRONT_MACHINE, "vm-vc1-0": _MACHINE},
    {"vm-vc1-0": Image("unmapped", False)},
    True,
    _NOW,
    _NOW,
)


def _with_vlan(listed: Listed) -> Listed:
    return listed._replace(interfaces={**(listed.interfaces or {}), "vc1": (_ETH._replace(mac="x"),)})


def test_a_poll_that_sees_the_same_changes_nothing() -> None:
    known = _KNOWN._replace(
        nodes={**_KNOWN.nodes, _FE: _FRONT._replace(interfaces=(_ETH._replace(mac="x"),))}
    )
    changes = compare(known, _with_vlan(_LISTED))
    assert not changes.nodes and not changes.clusters and not changes.touched and not changes.events


def test_a_state_is_written_with_its_event_and_others_stay() -> None:
    listed = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="active")}, began=_NOW, now=_NOW)
    changes = compare(_KNOWN, listed)
    assert changes.nodes == {
        _VM: {"state": "active", "last_power": "on", "is_switched": True}
    } and changes.touched == {_VC1}
    assert [(e.type, e.target, e.old, e.new) for e in changes.events] == [
        ("node.power", "vc1/n0", "nostate", "active")
    ]


def test_what_was_listed_before_a_command_is_ignored_for_its_node() -> None:
    listed = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="active", cpus=4)}, began=_NOW, now=_NOW)
    for seconds, outdated in ((1, True), (0, True), (-1, False), (7200, False)):
        node = _NODE._replace(last_command_at=_NOW + timedelta(seconds=seconds))
        later = listed._replace(now=_NOW + timedelta(seconds=2))
        changed = compare(Known(_KNOWN.clusters, {_VM: node}), later).nodes[_VM]
        power = {} if outdated else {"state": "active", "last_power": "on", "is_switched": True}
        assert changed == {"cpus": 4, **power}, seconds


def test_a_host_that_does_not_answer_for_a_while_leaves_the_power_that_was_known() -> None:
    on = _NODE._replace(values=_OFF._replace(state="active", last_power="on"))
    away = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="nostate-error")}, began=_NOW, now=_NOW)
    began = {"state": "nostate-error", "is_unseen": True}
    assert compare(Known(_KNOWN.clusters, {_VM: on}), away).nodes == {_VM: began}
    back = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="active")}, began=_NOW, now=_NOW)
    unknown = on._replace(values=on.values._replace(state="nostate-error"))
    assert compare(Known(_KNOWN.clusters, {_VM: unknown}), back).nodes == {_VM: {"state": "active"}}


def test_what_was_listed_before_its_removal_does_not_come_back() -> None:
    """A node, and a cluster with its frontend; listed afterwards they are new."""
    after, before = (_NOW + timedelta(seconds=seconds) for seconds in (1, -1))
    for removed, is_back in ((after, False), (before, True)):
        nodes = {
            number: one._replace(is_gone=True, last_command_at=removed)
            for number, one in _KNOWN.nodes.items()
        }
        known = Known({_VC1: _CLUSTER._replace(is_gone=True)}, nodes)
        changes = compare(known, _LISTED._replace(now=_NOW + timedelta(seconds=2)))
        assert [*changes.new_clusters] == ["vc1"] * is_back and not changes.nodes
        assert len(changes.new_nodes) == 2 * is_back


def test_a_machine_is_gone_after_two_complete_polls_without_it() -> None:
    without = _with_vlan(_LISTED)._replace(members=[Member("vc1", "vc1")])
    first = compare(_KNOWN, without)
    assert first.nodes[_VM] == {"missing_polls": 1} and first.events == []
    again = Known(_KNOWN.clusters, {_VM: _NODE._replace(missing_polls=1), _FE: _FRONT})
    second = compare(again, without)
    assert second.nodes[_VM]["is_gone"] and second.events == [_REMOVED]
    for part in ("interfaces", "gateways", "machines", "images"):
        assert _VM not in compare(again, without._replace(**{part: None})).nodes, part
    assert _VM not in compare(again, without._replace(has_all_images=False)).nodes
    back = compare(again, _with_vlan(_LISTED))
    assert back.nodes[_VM] == {"missing_polls": 0}


def test_a_machine_that_is_new_or_moved_to_another_cluster() -> None:
    members = [
        Member("vc1", "vc1"),
        Member("vc2", "vc2"),
        Member("vm-vc1-0", "vc2"),
        Member("vm-vc2-1", "vc2"),
    ]
    machines = {**(_LISTED.machines or {}), "vc2": _FRONT_MACHINE}
    changes = compare(_KNOWN, _LISTED._replace(members=members, machines=machines))
    assert changes.new_clusters == {"vc2": None}
    assert [(one.rocks_name, one.cluster, one.values.kind) for one in changes.new_nodes] == [
        ("vc2", "vc2", "frontend"),
        ("vm-vc2-1", "vc2", "compute"),
    ]
    assert changes.nodes[_VM]["cluster"] == "vc2" and changes.touched == {_VC1}
    assert changes.events == [_REMOVED], "for those who watch the former cluster"


def test_a_mac_that_two_machines_have_is_the_first_one_s() -> None:
    listed = _LISTED._replace(interfaces={"vc1": (_ETH,), "vm-vc1-0": (_ETH._replace(mac=_ETH.mac.upper()),)})
    changes = compare(_KNOWN, listed)
    assert changes.interfaces == {_FE: (_ETH,), _VM: ()}
    twice = (
        _ETH,
        _ETH._replace(mac="52:54:00:00:00:0b"),
        _ETH._replace(mac="52:54:00:00:00:0c", iface="eth1"),
    )
    changes = compare(_KNOWN, _LISTED._replace(interfaces={"vm-vc1-0": twice}))
    assert changes.interfaces == {_VM: (twice[0], twice[2])}, "of a device the first"


def test_an_image_that_no_nas_has_is_none_only_if_all_have_answered() -> None:
    listed = Listed(images={}, began=_NOW, now=_NOW)
    assert compare(_KNOWN, listed).nodes[_VM] == {"image_state": None, "image_locked": None}
    assert not compare(_KNOWN, listed._replace(has_all_images=False)).nodes


def _with_uuid(known: Known, number: int, uuid: str) -> Known:
    node = known.nodes[number]
    return known._replace(
        nodes={**known.nodes, number: node._replace(values=node.values._replace(uuid=uuid))}
    )


_ONE = _with_uuid(_KNOWN, _FE, "one")
_REMOVED = NewEvent("node.removed", "vc1/n0", None, None, 5, _VC1)
_GONE = {"missing_polls": 2, "is_gone": True}


def test_another_machine_under_the_name_of_a_frontend_ends_the_cluster_at_once() -> None:
    """Its owner has no power over the new one, whose cluster the computes are entered with."""
    members = [Member("vc1", "vc1", "two"), Member("vm-vc1-0", "vc1")]
    changes = compare(_ONE, _LISTED._replace(members=members))
    assert changes.clusters == {_VC1: {"is_gone": True}} and changes.nodes[_FE] == _GONE
    assert changes.new_clusters.keys() == {"vc1"} and changes.nodes[_VM]["cluster"] == "vc1"
    assert changes.touched == {_VC1} and [one.values.uuid for one in changes.new_nodes] == ["two"]
    same = [Member("vc1", "vc1", "one"), Member("vm-vc1-0", "vc1")]
    assert not compare(_ONE, _LISTED._replace(members=same)).clusters.get(_VC1, {}).get("is_gone")


def test_a_machine_with_another_name_and_the_same_uuid_was_renamed() -> None:
    """Also where the other lists have its former name, or another machine under that."""
    members = [Member("green", "green", "one"), Member("vm-vc1-0", "green")]
    other = {**(_LISTED.machines or {}), "vc1": _FRONT_MACHINE._replace(uuid="two", cpus=8)}
    for listed in (_LISTED, _LISTED._replace(machines=None), _LISTED._replace(machines=other)):
        changes = compare(_ONE, listed._replace(members=members))
        assert changes.clusters[_VC1]["rocks_name"] == "green" and not changes.new_nodes
        assert changes.nodes[_FE] == {"rocks_name": "green"} and _VM not in changes.nodes
    machines = {"green": _FRONT_MACHINE._replace(uuid="one")}
    changes = compare(_ONE, Listed(machines=machines, began=_NOW, now=_NOW))
    assert changes.clusters == {_VC1: {"rocks_name": "green"}}, "of a list of machines alone, too"
    unknown = compare(_KNOWN, _LISTED._replace(members=members))
    assert unknown.new_clusters.keys() == {"green"}, "no UUID is known"


def test_a_machine_that_was_renamed_after_the_members_were_listed_is_not_ended() -> None:
    """Another has its name already. Its owner would lose the cluster."""
    machines = {
        "vc1": _FRONT_MACHINE._replace(uuid="two"), "green": _FRONT_MACHINE._replace(uuid="one", cpus=4),
        "vm-vc1-0": _MACHINE,
    }  # fmt: skip
    members = [Member("vc1", "vc1", "one"), Member("vm-vc1-0", "vc1")]
    changes = compare(_ONE, _LISTED._replace(machines=machines, members=members))
    assert "is_gone" not in changes.clusters.get(_VC1, {}) and changes.nodes[_FE] == {"cpus": 4}


def test_a_list_of_machines_alone_shows_nothing_of_another_machine_under_the_name() -> None:
    """The clusters are listed less often: until then the node is as it was."""
    machines = {"vc1": _FRONT_MACHINE._replace(uuid="two", state="active")}
    changes = compare(_ONE, Listed(machines=machines, began=_NOW, now=_NOW))
    assert not changes.nodes and not changes.clusters and not changes.new_nodes


def test_swapped_names_are_two_renames() -> None:
    other = _FRONT._replace(
        name="vc2", rocks_name="vc2", cluster=2, values=NodeValues("frontend", uuid="two")
    )
    known = Known(
        {_VC1: _CLUSTER, 2: _CLUSTER._replace(name="vc2", rocks_name="vc2")}, {**_ONE.nodes, 20: other}
    )
    members = [Member("vc1", "vc1", "two"), Member("vm-vc1-0", "vc2"), Member("vc2", "vc2", "one")]
    changes = compare(known, _LISTED._replace(members=members))
    assert changes.nodes == {_FE: {"rocks_name": "vc2"}, 20: {"rocks_name": "vc1"}}, (
        "the compute is where it was"
    )
    assert not changes.new_clusters and not any("is_gone" in values for values in changes.clusters.values())


def test_a_cluster_returns_with_the_machine_that_its_frontend_was() -> None:
    gone = {number: node._replace(is_gone=True, missing_polls=2) for number, node in _ONE.nodes.items()}
    known = Known({_VC1: _CLUSTER._replace(is_gone=True)}, gone)
    for uuid, is_back in (("one", True), ("two", False), (None, False)):
        members = [Member("vc1", "vc1", uuid)]
        changes = compare(known, _LISTED._replace(members=members))
        assert (changes.clusters.get(_VC1, {}).get("is_gone") is False) is is_back, uuid
        assert bool(changes.new_clusters) is not is_back and (_FE in changes.nodes) is is_back


def test_a_frontend_on_the_vlan_of_another_cluster_has_its_own() -> None:
    members = [Member("vc1", "vc1"), Member("vm-vc1-0", "vc1"), Member("vc2", "vc2"), Member("vc1", "vc2")]
    changes = compare(_KNOWN, _LISTED._replace(members=members))
    assert _FE not in changes.nodes and [one.rocks_name for one in changes.new_nodes] == ["vc2"]


def test_a_machine_that_the_poll_enters_is_no_host() -> None:
    interfaces = dict.fromkeys(("vmc-0-0", "vc1", "vc9", "vm-vc9-0"), ())
    members = [*(_LISTED.members or ()), Member("vc9", "vc9"), Member("vm-vc9-0", "vc9")]
    listed = _LISTED._replace(interfaces=interfaces, members=members)
    assert hosts_of(_KNOWN, listed) == {"vmc-0-0"}
    assert hosts_of(_KNOWN, listed._replace(members=None)) is None, "a machine that was added would be a host"
