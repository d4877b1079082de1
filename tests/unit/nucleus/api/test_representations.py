"""Records as the JSON of the interface: how old an answer is, and what owners see of nodes and sets."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nucleus.api.representations import (
    Freshness,
    cluster_json,
    freshness_of,
    text_of,
)
from nucleus.configuration import PollSettings
from nucleus.mirror.identity import Token
from nucleus.records import Cluster, Interface, Node
from owners.accounts.tokens import token_json
from owners.computesets.records import Computeset
from owners.computesets.rest import computeset_json

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AWAY_SINCE = NOW - timedelta(minutes=5)
SETTINGS = PollSettings(power_seconds=10, topology_seconds=60)
FRESH = Freshness(NOW, False, 0).fields
FRONTEND = Node(
    1, 5, "frontend", "vc1", "vc1", None, "h1", 2, 2048, 36, "active", "mapped", False, None, None, None, None,
    "VM", None, None, False, None, None, "on", NOW, None, None, None, None,
)  # fmt: skip
COMPUTE = FRONTEND._replace(id=2, kind="compute", name="n0", state="nostate", set_id=9, set_state="running")
FREE = COMPUTE._replace(set_id=None, set_state=None)
PRIVATE = Interface("eth0", "52:54:00:00:00:01", "10.1.0.1", "255.255.0.0", "private", 3)
PUBLIC = Interface("eth1", "52:54:00:00:00:02", "203.0.113.9", "255.255.255.0", "public", 0)
SET = Computeset(
    9, 5, "running", {}, 1, "nucleus", "alp1", None, 60, 2, "VC-JOB-9", 77, "h[1-2]",
    datetime(2026, 1, 1, tzinfo=UTC), NOW, "ann", None, None, None, False, None, None, None, None, None,
    None, None, (2, 3),
)  # fmt: skip


def cluster(topology: float | None, power: float | None, image: float | None) -> Cluster:
    """Whose sources were read so many seconds ago."""
    moments = [None if age is None else NOW - timedelta(seconds=age) for age in (topology, power, image)]
    return Cluster(5, "vc1", "vc1", "", 1, "p", 3, None, 1, moments[0], moments[1], moments[2], None)


@pytest.mark.parametrize(
    ("ages", "is_stale", "age_seconds"),
    [
        ((180, 30, 30), False, 180),
        ((181, 0, 0), True, 181),
        ((0, 31, 0), True, 31),
        ((0, 0, 31), True, 31),
        ((0, 0, None), True, 0),  # null of an image does not mean that it is ready
        ((None, 0, 0), True, 0),
        ((0, None, 0), True, 0),
        ((None, None, None), True, 0),
        ((-5, -5, -5), False, 0),  # a clock that was set back
    ],
)
def test_an_answer_is_as_old_as_its_oldest_source(ages: Any, is_stale: bool, age_seconds: int) -> None:
    """It is stale after three intervals of one of them."""
    found = freshness_of(cluster(*ages), SETTINGS, NOW)
    assert (found.is_stale, found.age_seconds) == (is_stale, age_seconds)
    oldest = max((age for age in ages if age is not None), default=None)
    assert found.observed_at == (None if oldest is None else NOW - timedelta(seconds=oldest))
    assert found.fields == {"observed_at": text_of(found.observed_at), "stale": is_stale}


def test_a_cluster_that_is_gone_is_not_stale() -> None:
    """No poll will confirm it again; computesets that have ended still list its nodes."""
    found = freshness_of(cluster(3600, 3600, None)._replace(gone_at=NOW), SETTINGS, NOW)
    assert not found.is_stale and found.observed_at == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("node", "since", "host"),
    [
        (FRONTEND, text_of(NOW), "Its host answers."),
        (
            FRONTEND._replace(state="nostate", last_power="off"),
            text_of(NOW),
            "It starts on the host that it has.",
        ),
        (FRONTEND._replace(state="nostate-error"), None, "Its host does not answer, or"),
        (
            FRONTEND._replace(state="nostate-error", unknown_since=AWAY_SINCE),
            text_of(AWAY_SINCE),
            "Its host does not answer, or",
        ),
        (FRONTEND._replace(state="crashed", last_power="crashed"), text_of(NOW), "The machine has crashed"),
        (COMPUTE, None, "Its host is kept until the computeset ends."),
        (COMPUTE._replace(set_state="submitted"), None, "It has no host yet"),
        (FREE, None, "It has no host"),
        (FREE._replace(admin_disabled=True), None, "An operator has disabled"),
    ],
)
def test_a_node_has_its_power_since_a_moment_and_its_host_a_state(
    node: Node, since: str | None, host: str
) -> None:
    """The moment is of the power that is answered with it; another one was not seen yet, or not noted."""
    found = cluster_json(cluster(0, 0, 0), [node], {}, [], FRESH)
    (one,) = [found["frontend"] or found["computes"][0]]
    assert one["power_since"] == since and one["host_state"].startswith(host)


def test_a_cluster_has_its_frontend_with_the_public_interface_and_its_computes() -> None:
    found = cluster_json(cluster(0, 0, 0), [COMPUTE, FRONTEND], {1: (PRIVATE, PUBLIC)}, ["alp1"], FRESH)
    frontend, (compute,) = found["frontend"], found["computes"]
    assert (frontend["name"], frontend["power"], frontend["frontend_state"]) == ("vc1", "on", "synced")
    assert (frontend["pub_ip"], frontend["pub_mac"], frontend["pub_netmask"]) == (
        PUBLIC.ip,
        PUBLIC.mac,
        PUBLIC.netmask,
    )
    assert [one["iface"] for one in frontend["interface"]] == ["eth0", "eth1"]
    assert (compute["cluster"], compute["active_computeset"], compute["power"]) == ("vc1", 9, "off")
    found = cluster_json(cluster(0, 0, 0), [COMPUTE], {}, [], FRESH)
    assert found["frontend"] is None
    alone = cluster_json(cluster(0, 0, 0), [FRONTEND], {1: (PRIVATE,)}, [], FRESH)["frontend"]
    assert (alone["pub_ip"], alone["pub_mac"], alone["pub_netmask"]) == (None, None, None)


def test_of_an_operators_file_in_a_drive_owners_see_the_name() -> None:
    node = FRONTEND._replace(iso="/export/iso/secret/rescue.iso", iso_active="public/debian.iso")
    found = cluster_json(cluster(0, 0, 0), [node], {}, [], FRESH)["frontend"]
    assert (found["iso"], found["iso_active"]) == ("rescue.iso", "public/debian.iso")


def test_a_set_has_ready_nodes_while_it_runs_and_more_for_operators() -> None:
    computes = [{"power": "on"}, {"power": "off"}]
    found = computeset_json(SET, "vc1", computes, is_operator=False)
    assert (found["nodes_ready"], found["nodes_total"], found["walltime_mins"]) == (1, 2, 60)
    assert found["start_time"] == int(SET.start_time.timestamp()) and "jobid" not in found
    ending = computeset_json(SET._replace(state="ending", start_time=None), "vc1", computes, is_operator=True)
    assert (ending["nodes_ready"], ending["start_time"], ending["jobid"]) == (0, None, 77)
    assert (ending["user"], ending["nodelist"]) == ("nucleus", "h[1-2]")


def test_a_token_names_the_projects_that_are_left_of_its_own() -> None:
    token = Token("A1", 3, ("read",), (1, 2), "of a script", NOW, None, None, None)
    assert token_json(token, {1: "alpha"})["projects"] == ["alpha"]
    assert token_json(token._replace(projects=None), {1: "alpha"})["projects"] is None
