"""Fresh disks of an owner's nodes: who may ask for them, for which nodes, and from which images."""

from collections.abc import Iterator
from typing import Any

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.configuration import Configuration
from nucleus.mirror import audit, identity
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.conftest import MODERN, PROBLEMS, changed, started
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.conftest import sql

NODE = "/v1/cluster/vc2/compute/vm-vc2-{}"
FIRST, SECOND = NODE.format(0), NODE.format(1)


@pytest.fixture
def service(configuration: Configuration, pool: Pool, people: dict[str, str]) -> Iterator[Client]:
    """A site that offers one image."""
    offering = changed(configuration, "images", for_disks=["debian-12"])
    with started(offering, pool, people) as client:
        yield client


def post(service: Client, path: str, who: str = "ann", **body: Any) -> Any:
    service.forget_rates()
    return service.ask(who, "POST", path, json=body, headers={**MODERN, **PROBLEMS})


def test_a_node_gets_a_fresh_disk(service: Client, pool: Pool) -> None:
    """One operation for each, with its image; it is in the audit log."""
    assert service.get("ann", "/v1/image/disk").json() == ["debian-12"]
    asked = post(service, f"{FIRST}/reinstall", confirm="vm-vc2-0", image="debian-12")
    assert asked.status_code == 202, asked.text
    operation = asked.json()
    assert (operation["kind"], operation["node"], operation["image"]) == (
        "reinstall",
        "vm-vc2-0",
        "debian-12",
    )
    own = post(service, "/v1/cluster/vc2/frontend/reinstall", confirm="vc2").json()
    assert (own["kind"], own["node"], own["image"]) == ("reinstall", "vc2", None)
    cloned = post(service, f"{SECOND}/clone", confirm="vm-vc2-1", original="vm-vc2-2").json()
    assert (cloned["kind"], cloned["node"]) == ("clone", "vm-vc2-1")
    with pool.transaction() as session:
        entries = [(row.entry.action, row.entry.target) for row in audit.newest(session, 3)]
    assert entries == [("reinstall", "vc2/vm-vc2-0"), ("reinstall", "vc2/vc2"), ("clone", "vc2/vm-vc2-1")]
    destroyed = service.ask("ann", "DELETE", "/v1/cluster/vc2?confirm=vc2", headers={**MODERN, **PROBLEMS})
    assert destroyed.status_code == 409 and "disk of a node of vc2 is being replaced" in destroyed.text


def test_an_answer_that_was_lost_is_not_asked_for_twice(service: Client, pool: Pool) -> None:
    headers = {**MODERN, **PROBLEMS, "Idempotency-Key": "once"}
    for _ in range(2):
        asked = service.ask(
            "ann", "POST", f"{FIRST}/reinstall", json={"confirm": "vm-vc2-0"}, headers=headers
        )
        assert asked.status_code == 202, asked.text
    assert sql(pool, "SELECT COUNT(*) FROM operation WHERE kind = 'reinstall'") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "code", "detail"),
    [
        (
            "UPDATE node SET state = 'active' WHERE name = 'vm-vc2-0'",
            409,
            "vm-vc2-0 is on; power it off first",
        ),
        ("UPDATE node SET state = 'crashed' WHERE name = 'vm-vc2-0'", 409, "vm-vc2-0 has crashed"),
        ("UPDATE node SET state = NULL, physical_host = 'h' WHERE name = 'vm-vc2-0'", 409, "is not known"),
        ("UPDATE node SET image_state = 'mapped' WHERE name = 'vm-vc2-0'", 423, "is being transferred"),
        ("UPDATE node SET admin_disabled = 1 WHERE name = 'vm-vc2-0'", 409, "have disabled vm-vc2-0"),
    ],
)
def test_nodes_that_are_in_use_keep_their_disks(
    service: Client, pool: Pool, statement: str, code: int, detail: str
) -> None:
    """Also as the compute whose disk others are to get, unless an operator has disabled only it."""
    sql(pool, statement)
    refused = post(service, f"{FIRST}/reinstall", confirm="vm-vc2-0")
    assert refused.status_code in (code, 403) and detail in refused.json()["detail"], refused.text
    if "disabled" not in statement:
        model = post(service, f"{SECOND}/clone", confirm="vm-vc2-1", original="vm-vc2-0")
        assert model.status_code == code and detail in model.json()["detail"], model.text
    assert sql(pool, "SELECT COUNT(*) FROM operation") == [(0,)]


def test_nodes_of_computesets_and_of_other_operations_keep_their_disks(service: Client, pool: Pool) -> None:
    began = service.ask(
        "ann", "POST", "/v1/computeset/", json={"cluster": "vc2", "computes": "vm-vc2-3"}, headers=MODERN
    )
    assert began.status_code == 202, began.text
    held = post(service, f"{NODE.format(3)}/reinstall", confirm="vm-vc2-3")
    assert held.status_code == 409 and "is in the computeset" in held.json()["detail"]
    assert post(service, f"{FIRST}/reinstall", confirm="vm-vc2-0").status_code == 202
    for path, body in (
        (f"{FIRST}/reinstall", {"confirm": "vm-vc2-0"}),
        (f"{FIRST}/clone", {"confirm": "vm-vc2-0", "original": "vm-vc2-1"}),
        (f"{SECOND}/clone", {"confirm": "vm-vc2-1", "original": "vm-vc2-0"}),
    ):
        busy = post(service, path, **body)
        assert busy.status_code == 409, busy.text
        assert "something else is being done with vm-vc2-0" in busy.json()["detail"]
    assert service.ask("ann", "DELETE", f"{SECOND}?confirm=vm-vc2-1", headers=MODERN).status_code == 202
    leaving = post(service, f"{SECOND}/reinstall", confirm="vm-vc2-1")
    assert leaving.status_code == 409 and "is being destroyed" in leaving.json()["detail"]


def test_requests_that_are_wrong(service: Client, pool: Pool) -> None:
    """Another name, a node of somebody else, an image that is not offered or is an ISO, a compute by itself."""
    sql(pool, "INSERT INTO image (name, size_bytes, state) VALUES ('medium.iso', 1, 'ready')")
    own = {"confirm": "vm-vc2-0"}
    for path, body, status, code in (
        (f"{FIRST}/reinstall", {}, 400, "invalid-request"),
        (f"{FIRST}/reinstall", {"confirm": "vm-vc2-1"}, 400, "invalid-request"),
        (f"{FIRST}/reinstall", {**own, "image": "rocky"}, 404, "unknown-image"),
        (f"{FIRST}/reinstall", {**own, "image": "public/medium.iso"}, 404, "unknown-image"),
        (f"{FIRST}/reinstall", {**own, "image": "medium.iso"}, 404, "unknown-image"),
        (f"{FIRST}/reinstall", {**own, "image": "volume:vm-vc3-0-vol"}, 404, "unknown-image"),
        ("/v1/cluster/vc3/compute/vm-vc3-0/reinstall", {"confirm": "vm-vc3-0"}, 404, "unknown-cluster"),
        ("/v1/cluster/vc2/compute/vm-vc3-0/reinstall", {"confirm": "vm-vc3-0"}, 404, "unknown-node"),
        (f"{FIRST}/clone", own, 400, "invalid-request"),
        (f"{FIRST}/clone", {**own, "original": "vm-vc2-0"}, 400, "invalid-request"),
        (f"{FIRST}/clone", {**own, "original": "vm-vc3-0"}, 404, "unknown-node"),
        (f"{FIRST}/clone", {**own, "original": "vc2"}, 404, "unknown-node"),
        ("/v1/cluster/vc2/frontend/clone", {"confirm": "vc2", "original": "vm-vc2-0"}, 404, "not-found"),
    ):
        refused = post(service, path, **body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (path, body, refused.text)
    named = post(service, f"{FIRST}/reinstall", **own, image="rocky").json()["detail"]
    assert named == "there is no image 'rocky' for disks; choose one of: debian-12"
    assert sql(pool, "SELECT COUNT(*) FROM operation") == [(0,)]
    with pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        assert user is not None
        service.tokens["script"] = store_token(session, user.id, ["power", "image"], None, None, "test")[
            1
        ].text
    for path in (f"{FIRST}/reinstall", f"{FIRST}/clone"):
        refused = post(service, path, "script", **own, original="vm-vc2-1")
        assert refused.status_code in (400, 403), refused.text
    refused = post(service, f"{FIRST}/reinstall", "script", **own)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing-scope")
