"""What must hold before a node is started: its state, and the limits of its project."""

import dataclasses

import pytest

from nucleus.configuration import BatchSettings, Configuration
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import MODERN, POWER, PROBLEMS, start, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import run_on, sql


def limit(pool: Pool, **limits: int) -> None:
    """Set the limits of project alpha."""
    with pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        session.update("project", {"limits": limits}, id=project.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ("admin_disabled = 1", 409, "node-disabled"),
        ("image_state = 'NAS->VM', image_locked = 1", 423, "node-syncing"),
        ("image_state = 'unmapped', image_locked = 1", 423, "node-syncing"),
        ("image_state = 'NAS->VM', image_locked = 0", 202, None),
        ("image_state = 'mapped', image_locked = 1", 202, None),
    ],
)
@pytest.mark.parametrize("node", ["frontend", "compute/vm-vc2-0"])
def test_a_node_that_cannot_start_is_not_powered_on(
    service: Client, pool: Pool, node: str, changes: str, status: int, code: str | None
) -> None:
    number = start(service, computes="vm-vc2-0").json()["id"]
    run_on(pool, number, "host-0", ["host-0"])
    sql(pool, f"UPDATE node SET {changes} WHERE name IN ('vc2', 'vm-vc2-0')")
    answer = service.ask("ann", "PUT", f"/v1/cluster/vc2/{node}/poweron", headers={**MODERN, **PROBLEMS})
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    sql(pool, "UPDATE node SET state = 'active' WHERE name IN ('vc2', 'vm-vc2-0')")
    answer = service.ask("ann", "PUT", f"/v1/cluster/vc2/{node}/reset", headers={**MODERN, **PROBLEMS})
    assert answer.status_code == 202, "what runs is not kept from being reset"


def test_limits_of_a_project(service: Client, pool: Pool) -> None:
    """What is asked for and what is used already count together; exactly the limit is allowed."""
    sql(pool, "UPDATE node SET cpus = 3, memory_mb = 1000, disk_gb = 20")
    sql(pool, "UPDATE node SET cpus = NULL, memory_mb = NULL, disk_gb = NULL WHERE name = 'vm-vc2-3'")
    nodes = {"computes": ["vm-vc2-0", "vm-vc2-1", "vm-vc2-3"], "walltime_mins": 61}
    exact = {
        "vms": 3, "cpus": 6, "memory_mb": 2000, "disk_gb": 40, "sets": 1, "walltime_minutes": 61, "node_hours": 4
    }  # fmt: skip
    for name, value in exact.items():
        limit(pool, **{name: value - 1})
        answer = start(service, **nodes)
        assert (answer.status_code, answer.json()["code"]) == (403, "quota-exceeded"), (name, answer.text)
        refused = f"would have {value}, and its limit is {value - 1}"
        if name == "node_hours":
            refused = "has 3 node hours left; this needs 3.05"
        assert refused in answer.json()["detail"]
    limit(pool, **exact)
    assert start(service, **nodes).status_code == 201
    assert service.ask("ann", *POWER).status_code == 403
    assert service.ask("ann", "PUT", "/v1/cluster/vc2/frontend/poweroff").status_code == 204
    more = {"vms": 4, "cpus": 9, "memory_mb": 3000, "disk_gb": 60}
    for name, value in more.items():
        limit(pool, **{name: value - 1})
        assert service.ask("ann", *POWER).status_code == 403, name
    limit(pool, **more)
    assert service.ask("ann", *POWER).status_code == 204
    limit(pool, vms=4, sets=1)
    assert start(service, count=1).json()["code"] == "quota-exceeded"
    limit(pool, node_hours=5)
    assert start(service, count=1, walltime_mins=118).json()["code"] == "quota-exceeded", "183 + 118 minutes"
    assert start(service, count=1, walltime_mins=117).status_code == 201
    sql(
        pool,
        "UPDATE computeset SET start_time = UTC_TIMESTAMP(3), ended_at = UTC_TIMESTAMP(3) + INTERVAL 601 SECOND"
        " WHERE walltime_minutes = 61",
    )
    (usage,) = service.get("ann", "/v1/project").json()[0]["allocations"]
    assert (usage["charged_minutes"], usage["reserved_minutes"], usage["limit_minutes"]) == (33, 117, 300)
    assert (usage["left_minutes"], usage["limited_by"]) == (150, None)
    limit(pool, vms=4)
    sql(pool, "UPDATE node SET state = 'active' WHERE name = 'vc2'")
    sql(pool, "UPDATE operation SET state = 'succeeded'")
    assert service.ask("ann", *POWER).status_code == 403, "five are on"


def test_where_slurm_counts_its_limit_holds_and_not_the_projects(
    configuration: Configuration, pool: Pool, people: dict[str, str]
) -> None:
    limit(pool, node_hours=0)
    sql(
        pool,
        "UPDATE allocation SET limit_minutes = 90, used_minutes = 7, running_minutes = 5, left_minutes = 140,"
        " limited_by = 'site'",
    )
    by_slurm = dataclasses.replace(configuration, batch=BatchSettings("slurm", "virt"))
    with started(by_slurm, pool, people) as service:
        assert start(service, count=2, walltime_mins=60).status_code == 201, "sbatch refuses it, or it waits"
        (usage,) = service.get("ann", "/v1/project").json()[0]["allocations"]
    assert (usage["charged_minutes"], usage["reserved_minutes"], usage["limit_minutes"]) == (7, 125, 90)
    assert (usage["left_minutes"], usage["limited_by"]) == (20, "site"), "120 minutes wait"


def test_a_cluster_of_no_project_has_no_limits(service: Client, pool: Pool) -> None:
    limit(pool, vms=0)
    sql(pool, "UPDATE cluster SET project_id = NULL WHERE name = 'vc2'")
    assert service.ask("root", *POWER).status_code == 204
