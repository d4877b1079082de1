"""The words of administrators: users, projects, allocations, clusters, tokens, audit."""

from __future__ import annotations

import pytest

from nucleus.cli.main import main
from nucleus.configuration import DatabaseSettings
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
