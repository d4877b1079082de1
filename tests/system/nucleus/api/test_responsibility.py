"""What owners acknowledge before the first power-on."""

from nucleus.configuration import Configuration
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import MODERN, POWER, PROBLEMS, add_person, changed, start, started
from tests.system.nucleus.conftest import sql


def test_responsibility_is_acknowledged_before_the_first_power_on(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    with pool.transaction() as session:
        people["new"] = add_person(session, "new", "alpha")
        session.execute("UPDATE user SET acknowledged_at = NULL WHERE username = 'new'")
    with started(configuration, pool, people) as service:
        refused = service.ask("new", *POWER, headers=PROBLEMS)
        assert refused.status_code == 403 and refused.json()["code"] == "acknowledgement-needed"
        path = "/v1/user/acknowledgement"
        found = service.get("new", path).json()
        assert "responsible" in found["text"] and found["is_required"] and found["acknowledged_at"] is None
        assert service.ask("new", "PUT", path, json={"version": "old"}, headers=MODERN).status_code == 412
        assert service.ask("new", "PUT", path, json={"version": found["version"]}).json()["acknowledged_at"]
        assert service.ask("new", *POWER).status_code == 204
    other = changed(configuration, "responsibility", required=False)
    sql(pool, "UPDATE user SET acknowledged_at = NULL")
    with started(other, pool, people) as service:
        assert service.ask("new", *POWER).status_code == 204


def test_the_leader_of_a_project_acknowledges_it_too(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    """Where the site asks for both: power of nodes and computesets wait for it, as long as the project has none."""
    asked = changed(configuration, "responsibility", leader_required=True)
    with pool.transaction() as session:
        people["lee"] = add_person(session, "lee")
        session.execute("UPDATE user SET acknowledged_at = NULL WHERE username = 'lee'")
    with started(asked, pool, people) as service:
        refused = service.ask("ann", *POWER, headers=PROBLEMS)
        assert refused.status_code == 403 and "alpha has no leader" in refused.json()["detail"]
        sql(pool, "UPDATE project SET leader_id = (SELECT id FROM user WHERE username = 'lee')")
        assert start(service, count=1).json()["code"] == "acknowledgement-needed"
        assert "lee leads the project alpha" in service.ask("ann", *POWER, headers=PROBLEMS).json()["detail"]
        path = "/v1/user/acknowledgement"
        version = service.get("lee", path).json()["version"]
        assert service.ask("lee", "PUT", path, json={"version": version}).status_code == 200
        assert service.ask("ann", *POWER).status_code == 204
        assert start(service, count=1).status_code == 201
