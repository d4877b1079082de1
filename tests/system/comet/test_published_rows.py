"""The published service's table: every request of an old client has the published code and fields."""

from pathlib import Path

from nucleus.api.access.authentication import store_token
from nucleus.mirror import audit, identity
from nucleus.mirror.clusters import assign_cluster
from tests.published_rows import OldClient, ask_all, table
from tests.system.comet.conftest import Site


def test_all_rows_of_the_published_table(day: Site) -> None:
    """Step 24."""
    day.simulator.copy_seconds = 0.0
    with day.pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        (cluster,) = session.row("SELECT id FROM cluster WHERE name = 'vc1'") or (0,)
        assign_cluster(session, cluster, next(iter(user.projects)))
        scopes = ["power", "computeset", "console", "image", "rename", "cluster:reinstall", "cluster:destroy"]
        token = store_token(session, user.id, scopes, None, None, "old client")[1].text
    with day.at_work():
        asked = ask_all(OldClient(day.service.url, "ann", token), "vc2", "vm-vc2-0", "vc1")
    assert [one.number for one in asked] == list(range(1, 35))
    assert [one for one in asked if one.code != one.expected or one.missing] == [], table(asked)
    with day.pool.transaction() as session:
        assert [
            row
            for row in audit.faults(audit.whole_chain(session, Path("/nonexistent")))
            if "changed" in row or "removed" in row
        ] == []
