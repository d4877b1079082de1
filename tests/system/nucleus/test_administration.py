"""The words of administrators: users, projects, allocations, clusters, tokens, audit."""

import os
import pwd
import re
import shlex
from datetime import UTC, datetime, timedelta

import pytest

from lab.simulator import Simulator
from nucleus.api.access.credentials import OWNER_SCOPES, SCOPES
from nucleus.backends import rocks as commands
from nucleus.cli import health
from nucleus.cli.main import main
from nucleus.mirror import audit, observations, operations, status
from nucleus.mirror.events import NEWS
from nucleus.mirror.pool import Guard, Pool
from nucleus.records import NewOperation
from tests.system.nucleus.conftest import sql


@pytest.fixture(autouse=True)
def no_sudo(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account that runs the tests is the caller."""
    monkeypatch.delenv("SUDO_USER", raising=False)


class Nucleus:
    """`nucleus` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def done(self, text: str) -> str:
        """What a command prints, which must succeed."""
        self._capsys.readouterr()
        status = main(shlex.split(text))
        printed = self._capsys.readouterr()
        assert (status, printed.err) == (0, ""), text
        return printed.out

    def refused(self, text: str) -> str:
        """The error of a command that must be refused."""
        assert main(text.split()) == 1, text
        return self._capsys.readouterr().err


@pytest.fixture
def nucleus(capsys: pytest.CaptureFixture[str]) -> Nucleus:
    return Nucleus(capsys)


def test_a_site_is_set_up(nucleus: Nucleus, pool: Pool, cluster_number: int) -> None:
    """Each command does what it says, says what is next, and is recorded."""
    done = nucleus.done
    assert done("audit verify") == "the log is empty\n"
    assert done("project add gamma") == "added gamma; its clusters: nucleus cluster assign CLUSTER gamma\n"
    added = done("user add ann --email ann@example.org --first-name Ann --last-name Lee --project gamma")
    assert added == "added ann; a token: nucleus token create ann\n"
    done("user add root --operator")
    changes = (
        ("cluster assign vc2 gamma", ("assign_cluster", "vc2/gamma", None)),
        ("allocation add acc", ("add_allocation", "acc", None)),
        ("allocation add old", ("add_allocation", "old", None)),
        ("allocation permit acc vc2", ("permit_allocation", "vc2/acc", None)),
        ("allocation permit old vc2", ("permit_allocation", "vc2/old", None)),
        ("allocation permit old vc2 --remove", ("forbid_allocation", "vc2/old", None)),
        ("cluster describe vc2 test", ("describe_cluster", "vc2", "test")),
        ("cluster account vc2 ''", ("set_account", "vc2", "")),
        ("cluster account vc2 ann", ("set_account", "vc2", "ann")),
        ("project limit gamma vms=4 sets=3", ("set_limits", "gamma", "vms=4 sets=3")),
        ("project limit gamma sets=none node_hours=0", ("set_limits", "gamma", "sets=none node_hours=0")),
        ("cluster disable vc2 vm-vc2-1", ("disable_node", "vc2/vm-vc2-1", None)),
        ("cluster disable vc2", ("disable_node", "vc2/vc2", None)),
        ("cluster enable vc2", ("enable_node", "vc2/vc2", None)),
        ("project leader gamma ann", ("set_leader", "gamma", "ann")),
        ("project leader gamma none", ("set_leader", "gamma", "none")),
        ("project member alpha ann", ("add_member", "alpha/ann", None)),
        ("project member alpha root", ("add_member", "alpha/root", None)),
        ("project member alpha ann --remove", ("remove_member", "alpha/ann", None)),
        ("user email ann ''", ("set_email", "ann", "")),
        ("user email ANN ann@example.net", ("set_email", "ann", "ann@example.net")),
        ("user disable root", ("disable_user", "root", None)),
        ("user enable root", ("enable_user", "root", None)),
        ("user disable root", ("disable_user", "root", None)),
        ("user acknowledge ann", ("acknowledge", "ann", None)),
    )
    limits = "image_bytes=200000000000 images=100"
    printed = f"""vc2 is assigned to gamma
added acc; what may charge it: nucleus allocation permit acc CLUSTER
added old; what may charge it: nucleus allocation permit old CLUSTER
vc2 may charge acc
vc2 may charge old
vc2 may not charge old
the description of vc2 is changed
the Unix account of vc2 is none
the Unix account of vc2 is ann
gamma has {limits} sets=3 vms=4
gamma has {limits} node_hours=0 vms=4
disabled vm-vc2-1 of vc2
disabled vc2 of vc2
enabled vc2 of vc2
ann leads gamma
nobody leads gamma
ann is a member of alpha
root is a member of alpha
ann is no member of alpha
the e-mail address of ann is none
the e-mail address of ann is ann@example.net
root is refused, and has no token any more
root is admitted; a token: nucleus token create root
root is refused, and has no token any more
ann has acknowledged the responsibility for clusters
"""
    seen = NEWS.number
    assert "".join(done(text) for text, _ in changes) == printed
    assert NEWS.number - seen == len(changes), "a service in this process looks again"
    limits += " node_hours=0 vms=4"
    assert rows(done("project list")) == [["PROJECT", "LIMITS"], ["alpha"], ["gamma", limits]]
    assert rows(done("cluster list"))[1:] == [["vc2", "gamma", "vc2", "acc", "ann"]]
    assert rows(done("allocation list"))[1:] == [["acc", "vc2"], ["old"]]
    assert done("allocation remove old") == "removed old\n"
    assert rows(done("allocation list"))[1:] == [["acc", "vc2"]]
    computeset = "INSERT INTO computeset (cluster_id, state, account, walltime_minutes, node_count) VALUES"
    sql(pool, f"{computeset} ({cluster_number}, 'completed', 'acc', 1, 1)")
    assert "1 computeset charged it; nucleus allocation permit acc" in nucleus.refused(
        "allocation remove acc"
    )
    sql(pool, "DELETE FROM computeset")
    assert (
        "vc2 may charge it; first, for each: nucleus allocation permit acc vc2 --remove"
        in nucleus.refused("allocation remove acc")
    )
    assert "nucleus allocation list" in nucleus.refused("allocation remove old")
    assert "is there within a minute" in nucleus.refused("cluster assign vc9 gamma")
    assert rows(done("user list"))[1:] == [
        ["ann", "ann@example.net", "Ann Lee", "yes", "no", "gamma"],
        ["root", "no", "yes", "alpha"],
    ]
    with pool.transaction() as session:
        assert session.rows("SELECT name FROM node WHERE admin_disabled") == [("vm-vc2-1",)]
        found = session.row("SELECT description, generation FROM cluster")
        assert found == ("test", 9), "owners get the cluster anew after each change of it"
        recorded = session.rows("SELECT actor, action, target, after_text FROM audit ORDER BY seq")
    assert {row[0] for row in recorded} == {f"{pwd.getpwuid(os.getuid()).pw_name} (nucleus)"}
    assert [row[1:] for row in recorded] == [
        ("add_project", "gamma", None),
        ("add_user", "ann", "gamma"),
        ("add_user", "root", "operator"),
        *(expected for _, expected in changes),
        ("remove_allocation", "old", None),
    ]


def test_a_cluster_of_another_project_has_nothing_of_the_former_one(
    nucleus: Nucleus, pool: Pool, cluster_number: int
) -> None:
    """No image in a drive, no computeset, no change in work, and no allocation that its former owners charged."""
    for line in ("project add gamma", "allocation add acc", "allocation permit acc vc2"):
        nucleus.done(line)
    assign = "cluster assign vc2 gamma"
    for column in ("iso", "iso_active"):
        sql(pool, f"UPDATE node SET {column} = 'project/alpha/a.iso' WHERE name = 'vm-vc2-0'")
        refused = nucleus.refused(assign)
        assert "vm-vc2-0 has project/alpha/a.iso in its drive" in refused
        assert "rocks set host vm cdrom vm-vc2-0 eject" in refused
        sql(pool, f"UPDATE node SET {column} = 'public/a.iso'")
    columns = "computeset (cluster_id, state, account, walltime_minutes, node_count)"
    sql(pool, f"INSERT INTO {columns} VALUES (%s, 'running', 'acc', 1, 1)", (cluster_number,))
    ((number,),) = sql(pool, "SELECT id FROM computeset")
    for command in (assign, "cluster assign vc2 none"):
        assert f"has not ended, and charges acc; comet terminate {number}" in nucleus.refused(command)
    sql(pool, "UPDATE computeset SET state = 'completed'")
    for kind in ("attach_iso", "destroy", "poweron"):
        with pool.transaction() as session:
            asked = operations.insert_operation(session, NewOperation(kind, "ann", cluster_number))
        for state in ("queued", "running"):
            sql(pool, "UPDATE operation SET state = %s WHERE id = %s", (state, asked.id))
            refused = nucleus.refused(assign)
            assert f"a change of it by ann has not ended ({kind}, operation {asked.id})" in refused
        sql(pool, "UPDATE operation SET state = 'succeeded' WHERE id = %s", (asked.id,))
    assert rows(nucleus.done("cluster list")) == [
        ["CLUSTER", "PROJECT", "ROCKS NAME", "ALLOCATIONS"],
        ["vc2", "alpha", "vc2", "acc"],
    ]
    assert nucleus.done(assign) == (
        "vc2 is assigned to gamma\nit may not charge acc; to permit it again: nucleus allocation permit acc vc2\n"
    )
    assert rows(nucleus.done("allocation list"))[1:] == [["acc"]]
    listed = rows(nucleus.done("audit list --last 2"))[1:]
    assert [cells[3:5] for cells in listed] == [
        ["forbid_allocation", "vc2/acc"],
        ["assign_cluster", "vc2/gamma"],
    ]
    nucleus.done("allocation permit acc vc2")
    assert nucleus.done(assign) == "vc2 is assigned to gamma\n", "nothing has changed"
    assert rows(nucleus.done("allocation list"))[1:] == [["acc", "vc2"]]
    nucleus.done("cluster assign vc2 none")
    assert rows(nucleus.done("allocation list"))[1:] == [["acc"]], "nor may a third project's"


def rows(table: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [re.split("  +", line) for line in table.splitlines()]


def test_tokens_are_printed_once_and_end(nucleus: Nucleus, pool: Pool) -> None:
    done, refused = nucleus.done, nucleus.refused
    done("project add gamma")
    done("user add ann --project gamma")
    done("user add root --operator")
    before = datetime.now(UTC)
    token = done("token create ann --scope power --days 3650 --project gamma --note mine").strip()
    assert token.startswith("nuc_") and len(token) == 4 + 8 + 1 + 43
    ((identifier, user, scopes, expires, note),) = [
        [*cells[:4], cells[-1]] for cells in rows(done("token list ann"))[1:]
    ]
    assert (identifier, user, scopes, note) == (token[4:12], "ann", "read power", "mine")
    assert 3649.9 < (datetime.fromisoformat(expires) - before).total_seconds() / 86400 < 3650.1
    own, all_rights = done("token create ann --days 1"), done("token create root")
    listed = done("token list")
    assert not any(one.strip()[13:] in listed for one in (token, own, all_rights)), (
        "no secret is printed again"
    )
    scopes_of = {cells[0]: cells[2].split() for cells in rows(listed)[1:]}
    assert scopes_of[own[4:12]] == list(OWNER_SCOPES) and scopes_of[all_rights[4:12]] == list(SCOPES)
    projects = dict(sql(pool, "SELECT id, projects IS NULL FROM token"))
    assert projects == {token[4:12]: 0, own[4:12]: 1, all_rights[4:12]: 1}
    assert done(f"token revoke {token[4:12]}") == f"the token {token[4:12]} is revoked\n"
    ended = {cells[0]: len(cells) for cells in rows(done("token list ann"))[1:]}
    assert ended[token[4:12]] == 6 and ended[own[4:12]] == 4, "when it was revoked, and its note"
    assert "nucleus token list" in refused(f"token revoke {token[4:12]}")
    done("token create ann --project GAMMA --days 2")
    assert main(["token", "create", "ann", "--days=2", "--note=a\nb"]) == 0
    assert [cells[-1] for cells in rows(done("token list ann"))][-1] == "a\\nb"
    for days in (0, 3651):
        assert "1 to 3650" in refused(f"token create ann --days {days}")
    done("user disable ann")
    done("user enable ann")
    usable = "SELECT u.username FROM token t JOIN user u ON u.id = t.user_id WHERE t.revoked_at IS NULL"
    assert sql(pool, usable) == [("root",)], "who is admitted again needs a new token"


def test_computesets_of_who_is_shut_out_are_named(nucleus: Nucleus, pool: Pool, cluster_number: int) -> None:
    """They go on: they are the project's."""
    for line in ("project add gamma", "cluster assign vc2 gamma", "user add ann", "project member gamma ann"):
        nucleus.done(line)
    columns = "cluster_id, project_id, state, account, walltime_minutes, node_count, requested_by"
    for state, who in (("running", "ann"), ("completed", "ann"), ("running", "bob"), ("created", "ann")):
        sql(
            pool,
            f"INSERT INTO computeset ({columns}) SELECT {cluster_number}, id, %s, 'a', 1, 1, %s FROM project"
            " WHERE name = 'gamma'",
            (state, who),
        )
    first, _, _, last = (row[0] for row in sql(pool, "SELECT id FROM computeset ORDER BY id"))
    expected = (
        f"computesets that ann started go on, and are charged: {first}, {last}; an operator ends one by comet "
        f"terminate {first}\n"
    )
    refused = "ann is refused, and has no token any more\n"
    assert nucleus.done("user disable ann") == refused + expected
    assert nucleus.done("project member gamma ann --remove") == "ann is no member of gamma\n" + expected
    assert nucleus.done("project member alpha ann --remove") == "ann is no member of alpha\n"


def test_what_is_wrong_is_refused_with_what_helps(nucleus: Nucleus, pool: Pool, cluster_number: int) -> None:
    nucleus.done("project add gamma")
    nucleus.done("user add ann")
    nucleus.done("allocation add acc")
    before = sql(pool, "SELECT * FROM audit")
    for text, part in (
        ("user add ann", "the user ann is there already"),
        ("user add a/b", "'a/b' cannot name a user"),
        (f"user disable {'x' * 300}", f"no user '{'x' * 78}…;"),
        ("user add carl --email=nonsense", "nonsense is no e-mail address"),
        ("user email ann nonsense", "nonsense is no e-mail address"),
        (f"user email ann a@{'x' * 253}", "at most 254 characters"),
        ("user email none ann@example.org", "nucleus user list"),
        ("user add bob --project none", "nucleus project list"),
        ("user disable none", "nucleus user list"),
        ("token create änn", "nucleus user list"),
        ("project limit gammä vms=1", "nucleus project list"),
        ("project add gamma", "the project gamma is there already"),
        ("project add .x", "cannot name a project"),
        (f"project add {'x' * 65}", "at most 64"),
        ("project member none ann", "nucleus project list"),
        ("project limit gamma cars=1", "node_hours"),
        ("project limit gamma vms=-1", "vms=10"),
        (f"project limit gamma vms={'9' * 16}", "vms=10"),
        ("cluster assign none gamma", "nucleus cluster list"),
        ("cluster disable vc2 none", "rocks list cluster vc2"),
        ("allocation add acc", "the allocation acc is there already"),
        ("allocation permit none vc2", "nucleus allocation list"),
        ("token create ann --project alpha", "nucleus project"),
        ("token create ann --scope admin", "ann is no operator"),
        ("project add None", "None cannot name a project"),
        ("user add none", "none cannot name a user"),
        ("cluster account vc2 root;rm", "'root;rm' cannot name a Unix account"),
        ("audit list --last 0", "--last=50"),
        ("audit list --last -5", "--last=-5"),
    ):
        assert part in nucleus.refused(text), text
    assert sql(pool, "SELECT * FROM audit") == before
    assert sql(pool, "SELECT username FROM user") == [("ann",)]


def test_the_log_is_listed_and_checked(nucleus: Nucleus, pool: Pool) -> None:
    for name in ("alpha", "beta", "gamma"):
        nucleus.done(f"project add {name}")
    listed = rows(nucleus.done("audit list --last 2"))
    assert [cells[-3:] for cells in listed[1:]] == [
        ["add_project", name, "accepted"] for name in ("beta", "gamma")
    ]
    verified = nucleus.done("audit verify")
    with pool.transaction() as session:
        ((number, digest),) = session.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        assert verified == f"the chain is whole to row {number}, hash {digest.hex()}\n"
        session.execute("UPDATE audit SET target = 'x' ORDER BY seq LIMIT 1")
    assert "was changed" in nucleus.refused("audit verify")


def test_the_log_has_how_an_accepted_operation_has_ended(
    nucleus: Nucleus, pool: Pool, cluster_number: int
) -> None:
    """An image that the library refuses later was only `accepted`. What others changed may be any text."""
    with pool.transaction() as session:
        asked = operations.insert_operation(session, NewOperation("add_image", "ann", None))
        audit.record(session, audit.Entry("ann", "upload_image", "public/bad.iso", after=asked.id))
        audit.record(session, audit.Entry("ann", "set_user", "ann", after="Änne Test"))
    for state in ("queued", "failed"):
        sql(pool, "UPDATE operation SET state = %s", (state,))
        header, first, second = rows(nucleus.done("audit list --last 2"))
        assert header[-1] == "OPERATION"
        assert first[-2:] == ["accepted", f"{asked.id} {state}"] and second[-1] == "accepted"


def test_status_names_polls_that_are_late(
    pool: Pool, service_locks: list[Guard], capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that has ended leaves no failure: only the age of what it has read last, and free locks."""

    def lines(status: int) -> list[str]:
        capsys.readouterr()
        assert main(["status"]) == status
        return capsys.readouterr().out.splitlines()

    def polled(name: str, age_seconds: int) -> datetime:
        with pool.transaction() as session:
            moment = observations.database_now(session) - timedelta(seconds=age_seconds)
            observations.record_source(session, name, 0.1, moment, 7, None)
        return moment

    never = lines(1)
    assert ["cluster", "never", "late", "0", "0"] in [one.split() for one in never]
    assert any(
        one.startswith(
            "late: the poll vm has never been successful, and is due every 10 s: rocks list host vm"
        )
        for one in never
    )
    for source in (*commands.SOURCES, commands.LIBRARY):
        polled(source.name, 20)
    fresh = lines(0)
    assert not any("late" in one for one in fresh)
    last = polled("vm", 3600)
    late = lines(1)
    (row,) = [one for one in late if one.startswith("vm ")]
    assert row.split()[1:7] == [f"{last:%Y-%m-%d}", f"{last:%H:%M:%S}", "UTC", row.split()[4], "s", "late"]
    assert 3600 <= int(row.split()[4]) < 3700
    assert sum(one.startswith("late: ") for one in late) == 1
    with pool.transaction() as session:
        observations.record_source(session, "vm", 0.1, None, 0, "host-1 does not answer")
    assert any("host-1 does not answer" in one for one in lines(1))
    polled("vm", 20)
    look = "systemctl status rocks-nucleus, journalctl -u rocks-nucleus"
    for one, what in zip(
        service_locks,
        ("runs without poller", "runs without poller and computesets", "does not run"),
        strict=True,
    ):
        lines(0 if one is service_locks[0] else 1)
        one.release()
        assert f"alarm: the service {what}: {look}" in lines(1)
        with pool.transaction() as session:
            alarms = status.gauges(session, observations.database_now(session))["alarms"]
        assert alarms["part-not-running",] == service_locks.index(one) + 1


def test_a_poll_by_hand_says_nothing_of_slurm(
    nucleus: Nucleus, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks the site, and failed while Slurm did not answer, though each of its commands had."""
    monkeypatch.setattr(health, "create_executor", lambda _: Simulator())
    with pool.transaction() as session:
        now = observations.database_now(session)
        observations.record_source(session, observations.SCHEDULER, 1.0, now, 0, "squeue failed")
    assert observations.SCHEDULER not in nucleus.done("poll")
