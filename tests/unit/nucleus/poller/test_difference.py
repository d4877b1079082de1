"""What a poll changes."""

from datetime import UTC, datetime, timedelta

from nucleus.backends.shapes import Image, Machine, Member
from nucleus.mirror.observations import KnownCluster, KnownNode, NodeValues
from nucleus.poller.difference import Known, Listed, compare, hosts_of, renamed
from nucleus.records import Interface

_NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ETH = Interface("eth0", "52:54:00:00:00:0a", "10.1.3.1", "255.255.255.0", "private", 3)
_OFF = NodeValues("compute", "host-0", 2, 2048, 36, "nostate", "unmapped", False, None, None)
_CLUSTER = KnownCluster(1, "vc1", 5, 3, 0, False)
_NODE = KnownNode("n0", "vc1", _OFF, (_ETH,), 0, False, None)
_FRONT = KnownNode("vc1", "vc1", NodeValues("frontend"), (), 0, False, None)
_KNOWN = Known({"vc1": _CLUSTER}, {"vc1": _FRONT, "vm-vc1-0": _NODE})
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
        nodes={**_KNOWN.nodes, "vc1": _FRONT._replace(interfaces=(_ETH._replace(mac="x"),))}
    )
    changes = compare(known, _with_vlan(_LISTED))
    assert not changes.nodes and not changes.clusters and not changes.touched and not changes.events


def test_a_state_is_written_with_its_event_and_others_stay() -> None:
    listed = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="active")}, began=_NOW, now=_NOW)
    changes = compare(_KNOWN, listed)
    assert changes.nodes == {"vm-vc1-0": {"state": "active"}} and changes.touched == {"vc1"}
    assert [(e.type, e.target, e.old, e.new) for e in changes.events] == [
        ("node.power", "vc1/n0", "nostate", "active")
    ]


def test_what_was_listed_before_a_command_is_ignored_for_its_node() -> None:
    listed = Listed(machines={"vm-vc1-0": _MACHINE._replace(state="active", cpus=4)}, began=_NOW, now=_NOW)
    for seconds, outdated in ((1, True), (0, True), (-1, False), (7200, False)):
        node = _NODE._replace(last_command_at=_NOW + timedelta(seconds=seconds))
        later = listed._replace(now=_NOW + timedelta(seconds=2))
        changed = compare(Known(_KNOWN.clusters, {"vm-vc1-0": node}), later).nodes["vm-vc1-0"]
        assert changed == ({"cpus": 4} if outdated else {"cpus": 4, "state": "active"}), seconds


def test_what_was_listed_before_its_removal_does_not_come_back() -> None:
    """A node, and a cluster with its frontend; listed afterwards they are new."""
    after, before = (_NOW + timedelta(seconds=seconds) for seconds in (1, -1))
    for removed, is_back in ((after, False), (before, True)):
        nodes = {
            name: one._replace(is_gone=True, last_command_at=removed) for name, one in _KNOWN.nodes.items()
        }
        known = Known({"vc1": _CLUSTER._replace(is_gone=True)}, nodes)
        changes = compare(known, _LISTED._replace(now=_NOW + timedelta(seconds=2)))
        assert [name for name, _ in changes.new_clusters] == ["vc1"] * is_back
        assert len(changes.new_nodes) == 2 * is_back


def test_a_machine_is_gone_after_two_complete_polls_without_it() -> None:
    without = _with_vlan(_LISTED)._replace(members=[Member("vc1", "vc1")])
    first = compare(_KNOWN, without)
    assert first.nodes["vm-vc1-0"] == {"missing_polls": 1, "is_gone": False}
    again = Known(_KNOWN.clusters, {"vm-vc1-0": _NODE._replace(missing_polls=1), "vc1": _FRONT})
    assert compare(again, without).nodes["vm-vc1-0"]["is_gone"]
    for part in ("interfaces", "gateways", "machines", "images"):
        assert "vm-vc1-0" not in compare(again, without._replace(**{part: None})).nodes, part
    assert "vm-vc1-0" not in compare(again, without._replace(has_all_images=False)).nodes
    back = compare(again, _with_vlan(_LISTED))
    assert back.nodes["vm-vc1-0"] == {"missing_polls": 0}


def test_a_machine_that_is_new_or_moved_to_another_cluster() -> None:
    members = [
        Member("vc1", "vc1"),
        Member("vc2", "vc2"),
        Member("vm-vc1-0", "vc2"),
        Member("vm-vc2-1", "vc2"),
    ]
    machines = {**(_LISTED.machines or {}), "vc2": _FRONT_MACHINE}
    changes = compare(_KNOWN, _LISTED._replace(members=members, machines=machines))
    assert changes.new_clusters == [("vc2", None)]
    assert [(name, of, values.kind) for name, of, values, _ in changes.new_nodes] == [
        ("vc2", "vc2", "frontend"),
        ("vm-vc2-1", "vc2", "compute"),
    ]
    assert changes.nodes["vm-vc1-0"]["cluster"] == "vc2" and changes.touched >= {"vc1", "vc2"}


def test_a_mac_that_two_machines_have_is_the_first_one_s() -> None:
    listed = _LISTED._replace(interfaces={"vc1": (_ETH,), "vm-vc1-0": (_ETH._replace(mac=_ETH.mac.upper()),)})
    changes = compare(_KNOWN, listed)
    assert changes.interfaces == {"vc1": (_ETH,), "vm-vc1-0": ()}
    twice = (
        _ETH,
        _ETH._replace(mac="52:54:00:00:00:0b"),
        _ETH._replace(mac="52:54:00:00:00:0c", iface="eth1"),
    )
    changes = compare(_KNOWN, _LISTED._replace(interfaces={"vm-vc1-0": twice}))
    assert changes.interfaces == {"vm-vc1-0": (twice[0], twice[2])}, "of a device the first"


def test_an_image_that_no_nas_has_is_none_only_if_all_have_answered() -> None:
    listed = Listed(images={}, began=_NOW, now=_NOW)
    assert compare(_KNOWN, listed).nodes["vm-vc1-0"] == {"image_state": None, "image_locked": None}
    assert not compare(_KNOWN, listed._replace(has_all_images=False)).nodes


def _with_uuid(known: Known, name: str, uuid: str) -> Known:
    node = known.nodes[name]
    assert node.values is not None
    return known._replace(nodes={**known.nodes, name: node._replace(values=node.values._replace(uuid=uuid))})


def test_another_machine_under_the_name_of_a_frontend_ends_the_cluster_at_once() -> None:
    """Its owner has no power over the new one. Its computes are entered with that, by the next poll."""
    known = _with_uuid(_KNOWN, "vc1", "one")
    machines = {"vc1": _FRONT_MACHINE._replace(uuid="two"), "vm-vc1-0": _MACHINE}
    changes = compare(known, _LISTED._replace(machines=machines))
    gone = {"missing_polls": 2, "is_gone": True}
    assert (changes.clusters, changes.nodes) == ({"vc1": gone}, {"vc1": gone}) and changes.touched == {"vc1"}
    same = {**machines, "vc1": _FRONT_MACHINE._replace(uuid="one")}
    assert not compare(known, _LISTED._replace(machines=same)).clusters.get("vc1", {}).get("is_gone")


def test_a_frontend_that_only_one_command_has_listed_is_entered_by_the_next_poll() -> None:
    listed = _LISTED._replace(members=[Member("vc9", "vc9"), Member("vm-vc1-0", "vc9")])
    changes = compare(_KNOWN, listed)
    assert not changes.new_clusters and not changes.new_nodes and "vm-vc1-0" not in changes.nodes


def test_a_machine_with_another_name_and_the_same_uuid_was_renamed() -> None:
    known = _with_uuid(_KNOWN, "vc1", "one")
    members = [Member("green", "green"), Member("vm-vc1-0", "green")]
    machines = {"green": _FRONT_MACHINE._replace(uuid="one"), "vm-vc1-0": _MACHINE}
    listed = _LISTED._replace(members=members, machines=machines)
    assert renamed(known, listed) == {"vc1": "green"}
    assert renamed(known, listed._replace(members=_LISTED.members)) == {}, "it was listed before"
    assert renamed(_KNOWN, listed) == {}, "no UUID is known"


def test_who_is_in_which_cluster_is_compared_with_uuids_only() -> None:
    """The frontends may have swapped their names: a compute would be the other owner's."""
    listed = _LISTED._replace(members=[Member("vc2", "vc2"), Member("vm-vc1-0", "vc2")], machines=None)
    changes = compare(_KNOWN, listed)
    assert not changes.new_clusters and not changes.new_nodes and not changes.nodes


def test_a_machine_that_the_next_poll_enters_is_no_host() -> None:
    interfaces = dict.fromkeys(("vmc-0-0", "vc1", "vc9", "vm-vc9-0"), ())
    members = [*(_LISTED.members or ()), Member("vc9", "vc9"), Member("vm-vc9-0", "vc9")]
    listed = _LISTED._replace(interfaces=interfaces, members=members)
    assert hosts_of(_KNOWN, listed) == {"vmc-0-0"}
    assert hosts_of(_KNOWN, listed._replace(members=None)) is None, "a machine that was added would be a host"


def test_a_machine_that_was_renamed_after_the_members_were_listed_is_not_ended() -> None:
    """Another has its name already; the next poll follows both. Its owner would lose the cluster."""
    known = _with_uuid(_KNOWN, "vc1", "one")
    machines = {"vc1": _FRONT_MACHINE._replace(uuid="two"), "green": _FRONT_MACHINE._replace(uuid="one")}
    listed = _LISTED._replace(machines={**machines, "vm-vc1-0": _MACHINE})
    changes = compare(known, listed)
    assert renamed(known, listed) == {} and not changes.clusters
    assert "is_gone" not in changes.nodes["vc1"]
    assert renamed(known, listed._replace(members=None)) == {"vc1": "green"}
