"""The words of administrators: users, projects, allocations, clusters, tokens, audit."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from nucleus.backends import rocks as commands
from nucleus.cli.main import main
from nucleus.configuration import DatabaseSettings
from nucleus.mirror import observations
from nucleus.mirror.pool import Pool


@pytest.fixture(autouse=True)
def environment(nucleus_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this process."""
    monkeypatch.setenv("NUCLEUS_DATABASE_SOCKET", nucleus_settings.socket)
    monkeypatch.setenv("NUCLEUS_DATABASE_NAME", nucleus_settings.name)
    monkeypatch.setenv("NUCLEUS_DATABASE_USER", "root")


def test_a_site_is_set_up(pool: Pool, cluster_number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def done(text: str) -> str:
        assert main(text.split()) == 0, (text, capsys.readouterr().err)
        return capsys.readouterr().out

    def refused(text: str) -> str:
        assert main(text.split()) == 1
        return capsys.readouterr().err

    done("project add gamma")
    done("user add ann --email ann@example.org --project gamma")
    done("cluster assign vc2 gamma")
    done("allocation add acc")
    done("allocation permit acc vc2")
    done("cluster describe vc2 test")
    done("cluster account vc2 ann")
    done("project limit gamma vms=4 sets=none")
    done("cluster disable vc2 vm-vc2-1")
    done("user acknowledge ann")
    token = done("token create ann --scope power --days 2").strip()
    assert token.startswith("nuc_") and len(token) == 4 + 8 + 1 + 43
    listed = done("token list ann")
    assert token[4:12] in listed and token[13:] not in listed
    assert (
        "gamma" in done("cluster list")
        and "vms=4" in done("project list")
        and "vc2" in done("allocation list")
    )
    assert "ann@example.org" in done("user list")
    with pool.transaction() as session:
        assert session.row("SELECT name FROM node WHERE admin_disabled") == ("vm-vc2-1",)
    done(f"token revoke {token[4:12]}")
    for text, part in (
        ("user add ann", "there already"),
        ("user add a/b", "cannot name"),
        ("user disable none", "nucleus user list"),
        ("project member none ann", "nucleus project list"),
        ("project limit gamma cars=1", "node_hours"),
        ("project limit gamma vms=-1", "vms=10"),
        ("cluster assign none gamma", "nucleus cluster list"),
        ("cluster disable vc2 none", "rocks list cluster"),
        ("allocation permit none vc2", "nucleus allocation list"),
        ("token create ann --project alpha", "nucleus project"),
        ("token create ann --days 0", "3650"),
        (f"token revoke {token[4:12]}", "nucleus token list"),
    ):
        assert part in refused(text), text
    assert "revoke_token" in done("audit list") and '"action": "add_user"' in done("audit list --json")
    assert "the chain is whole" in done("audit verify")
    with pool.transaction() as session:
        session.execute("UPDATE audit SET target = 'x' ORDER BY seq LIMIT 1")
    assert "was changed" in refused("audit verify")


def test_status_names_polls_that_are_late(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that has ended leaves no failure: only the age of what it has read last."""

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
    assert (
        "all polls are late: does the service run? systemctl status rocks-nucleus rocks-nucleus-executor"
        in never
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
    assert not any("all polls" in one for one in late)
    with pool.transaction() as session:
        observations.record_source(session, "vm", 0.1, None, 0, "host-1 does not answer")
    assert any("host-1 does not answer" in one for one in lines(1))
