"""Objects that there are, and for each operation of the interface requests that name them.

Generated identifiers name nothing: without these most operations answer only that there is no such thing. What a
request uses up is there many times. None has `fields`: the description has the whole answers.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nucleus.api.access.authentication import store_token
from nucleus.mirror import identity, operations
from nucleus.records import NewOperation
from nucleus.states import COMPLETED, RUNNING
from owners.accounts.users import DEFAULT_TEXT
from owners.computesets import records as computesets
from owners.images import records as images
from tests.system.nucleus.api.conftest import ISO, KEY
from tests.system.nucleus.conftest import add_cluster, compute_numbers

if TYPE_CHECKING:
    from nucleus.mirror.pool import Session

Request = dict[str, Any]
"""path, headers: values by name, instead of those that were generated; query, body: all of it; form: the parts of a
multipart form; content: the bytes of a body, in base64."""

MANY = 30
DIGESTS = {"sha256": hashlib.sha256(ISO).hexdigest(), "md5": hashlib.md5(ISO).hexdigest()}


def add_known_objects(session: Session, who: str, token: str) -> dict[str, list[Request]]:
    """Add them for a user who has the clusters of project alpha; operation → requests. `token`: the user's own."""
    add_cluster(session, "vc4", 2, "alpha")
    add_cluster(session, "vc5", MANY, "alpha")
    free = add_cluster(session, "vc6", MANY, "alpha")
    add_cluster(session, "vc7", 4, "alpha")
    identity.set_allocation(session, free, "alpha-account", True)
    session.execute(
        "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3), observed_topology = UTC_TIMESTAMP(3),"
        " observed_image = UTC_TIMESTAMP(3)"
    )
    session.execute("UPDATE node SET image_state = 'unmapped' WHERE kind = 'compute'")
    sets = _add_sets(session)
    (user_id,) = session.row("SELECT id FROM user WHERE username = %s", (who,)) or (0,)
    (project_id,) = session.row("SELECT id FROM project WHERE name = 'alpha'") or (0,)
    user = identity.user_by_id(session, user_id)
    project = user.projects.get(project_id)  # None: an operator, whose images are everybody's
    return {
        **_of_clusters(),
        **_of_computesets(sets),
        **_of_reservations(session, user_id, project_id),
        **_of_nodes(),
        **_of_images(session, user_id, project_id, project),
        **_of_operations(session, who, project_id),
        **_of_users(session, user_id, who, token),
    }


def _add_sets(session: Session) -> dict[str, int]:
    """State → number: a set that runs on vc2, all of whose nodes are on, and one that has ended.

    No request ends the set of vc7, whose nodes are to be powered on.
    """
    numbers = {}
    for name, state in (("vc7", RUNNING), ("vc2", COMPLETED), ("vc2", RUNNING)):
        (cluster,) = session.row("SELECT id FROM cluster WHERE name = %s", (name,)) or (0,)
        session.execute(
            "UPDATE node SET state = 'active', image_state = IF(kind = 'compute', 'mapped', NULL)"
            " WHERE cluster_id = %s",
            (cluster,),
        )
        new = computesets.NewComputeset(
            cluster, compute_numbers(session, cluster), "ann", "alpha-account", None, 60, "ann"
        )
        numbers[state] = computesets.insert_computeset(session, new)
        hosts = {number: f"host-{number}" for number in new.node_ids}
        members = [{"id": number, "host": host} for number, host in hosts.items()]
        context = json.dumps({"members": members, "hosts": list(hosts.values())})
        session.execute(
            "UPDATE computeset SET state = %s, context = %s WHERE id = %s", (state, context, numbers[state])
        )
        if state == COMPLETED:
            computesets.release_nodes(session, numbers[state])
    return numbers


def _of_clusters() -> dict[str, list[Request]]:
    cluster: list[Request] = [{"path": {"c": "vc2"}}]
    lists = [{"query": {}}, {"query": {"limit": 2}}]
    lists += [{"query": {"project": "alpha", "name": "vc?", "state": "active"}}]
    computes: list[Request] = [{"path": {"c": "vc2", "n": f"vm-vc2-{number}"}} for number in range(4)]
    consoles = [{"body": {"type": kind}} for kind in ("vnc", "serial")]
    return {
        "list_clusters": lists,
        "get_cluster": [cluster[0] | {"query": {}}],
        "destroy_cluster": [{"path": {"c": "vc4"}, "query": {"confirm": "vc4"}}],
        "get_compute": [compute | {"query": {}} for compute in computes],
        "destroy_compute": [
            {"path": {"c": "vc4", "n": name}, "query": {"confirm": name}} for name in _names("vc4", 2)
        ],
        "rename_compute": [{"path": {"c": "vc5", "n": name}} for name in _names("vc5")],
        "get_frontend": [cluster[0] | {"query": {}}],
        "rename_nodes": [
            {"path": {"c": "vc5"}, "body": {"map": {name: f"{name}x"}}} for name in reversed(_names("vc5"))
        ],
        "show_compute_console": computes,
        "show_frontend_console": cluster,
        "open_compute_console": [compute | console for compute in computes for console in consoles],
        "open_frontend_console": [cluster[0] | console for console in consoles],
        "compute_console_log": computes,
        "compute_screen": computes,
        "frontend_console_log": cluster,
        "frontend_screen": cluster,
    }


def _names(cluster: str, count: int = MANY) -> list[str]:
    return [f"vm-{cluster}-{number}" for number in range(count)]


def _of_nodes() -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = {}
    found["compute_poweron"] = [{"path": {"c": "vc7", "n": name}} for name in _names("vc7", 4)]
    for action in ("poweroff", "reboot", "reset", "shutdown"):
        found[f"compute_{action}"] = [{"path": {"c": "vc2", "n": name}} for name in _names("vc2", 4)]
    for action in ("poweron", "poweroff", "reboot", "reset", "shutdown"):
        found[f"frontend_{action}"] = [{"path": {"c": "vc2"}}]
    return found


def _of_computesets(sets: dict[str, int]) -> dict[str, list[Request]]:
    numbers = [{"path": {"s": str(number)}} for number in reversed(sets.values())]
    found: dict[str, list[Request]] = {"get_computeset": [one | {"query": {}} for one in numbers]}
    found["list_computesets"] = [
        {"query": {}},
        {"query": {"cluster": "vc2", "state": ["running", "completed"], "limit": 1}},
    ]
    found |= {f"computeset_{action}": numbers for action in ("poweroff", "reboot", "reset", "shutdown")}
    found["extend_computeset"] = [one | {"body": {"walltime_mins": 40_000}} for one in numbers]
    found["estimate_computeset"] = [{"body": {"cluster": "vc6", "count": 1, "walltime_mins": 30}}]
    found["merge_computesets"] = [one | {"body": {"computeset": sets[RUNNING]}} for one in numbers]
    body = {"cluster": "vc6", "walltime_mins": 30}
    found["start_computeset"] = [{"body": body | {"computes": name}} for name in _names("vc6", 10)]
    found["start_computeset"] += [{"body": body | {"count": 1, "allocation": "alpha-account"}}]
    found["start_computeset"] += [{"body": body | {"computes": [name]}} for name in _names("vc6", 15)[10:]]
    return found


def _of_images(
    session: Session, user_id: int, project_id: int, project: str | None
) -> dict[str, list[Request]]:
    numbers = itertools.count()

    def add(owner: int | None, size: int) -> str:
        name = f"one-{next(numbers)}.iso"
        number = images.add_image(session, owner, name, size, DIGESTS["sha256"], DIGESTS["md5"], user_id)
        images.set_state(session, number, "ready")
        return name

    own, public = add(project_id, len(ISO)), add(None, len(ISO))
    names = [f"project/alpha/{own}", f"public/{public}", ""]
    attached = [{"query": {"iso_name": name}} for name in names] + [
        {"body": {"iso_name": name}} for name in names
    ]
    whole = base64.b64encode(ISO).decode()
    off = _names("vc6")[20:]  # sets are started of the first ones
    return {
        "reinstall_compute": [
            {"path": {"c": "vc6", "n": name}, "body": {"confirm": name}} for name in off[:5]
        ],
        "reinstall_frontend": [{"path": {"c": "vc6"}, "body": {"confirm": "vc6"}}],
        "clone_compute": [
            {"path": {"c": "vc6", "n": name}, "body": {"confirm": name, "original": off[9]}}
            for name in off[5:9]
        ],
        "attach_compute_iso": [{"path": {"c": "vc2", "n": "vm-vc2-0"}} | one for one in attached],
        "attach_frontend_iso": [{"path": {"c": "vc2"}} | one for one in attached],
        "attach_nodes": [
            {"path": {"c": "vc2"}, "body": {"iso_name": name, "nodes": nodes}}
            for name in names
            for nodes in ("vm-vc2-[0-3]", "vm-vc2-1", None)
        ],
        "upload_image": [_form(one, project, whole) for one in range(MANY) for _ in range(2)],
        "delete_public_image": [
            {"path": {"name": add(None, len(ISO))}} for _ in range(MANY)
        ],
        "delete_project_image": [
            {"path": {"project": "alpha", "name": add(project_id, len(ISO))}} for _ in range(MANY)
        ],
    }  # fmt: skip


def _form(number: int, project: str | None, content: str) -> Request:
    """One that was sent before, with its key, is answered as before."""
    parts = [["project", None, base64.b64encode((project or "").encode()).decode()]]
    parts += [["file", f"form-{number}.iso", content]]
    return {"headers": {"md5": DIGESTS["md5"], "Idempotency-Key": f"form-{number}"}, "form": parts}


def _of_operations(session: Session, who: str, project_id: int) -> dict[str, list[Request]]:
    identifiers = [
        operations.insert_operation(session, NewOperation("poweron", who, project_id=project_id)).id
        for _ in range(MANY)
    ]
    found = [{"path": {"id": one}} for one in identifiers]
    lists = [{"query": {}}, {"query": {"target": "vc2", "limit": 3}}, {"query": {"target": "vc2/vm-vc2-1"}}]
    lists += [{"query": {"state": ["queued", "cancelled"]}}]
    return {"get_operation": found, "cancel_operation": found[1:], "list_operations": lists}


def _of_reservations(session: Session, user_id: int, project_id: int) -> dict[str, list[Request]]:
    site = {"name": "UCSD", "cpus": 64, "memory_gb": 192, "project_id": project_id}
    number = session.insert("reservation_site", site)
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    times = {"begin": begin.isoformat(), "end": (begin + timedelta(hours=1)).isoformat()}
    key = {"public_key": KEY}
    made = {"site_id": number, "user_id": user_id, "vc": "dock6", "cpus": 1, "memory_gb": 1, **key}
    stored = [session.insert("reservation", made) for _ in range(MANY)]
    body = {"site": "UCSD", "vc": "dock6", "cpus": 1, "memory_gb": 1, **times, **key}
    return {
        "list_reservation_sites": [{"query": {}}, {"query": times}],
        "change_reservation_site": [{"path": {"name": "UCSD"}, "body": {"ent": True}}],
        "list_reservations": [{}],
        "create_reservation": [{"body": body}],
        "cancel_reservation": [{"path": {"r": one}} for one in stored],
    }


def _of_users(session: Session, user_id: int, who: str, token: str) -> dict[str, list[Request]]:
    expires = datetime.now(UTC) + timedelta(days=1)
    made = [store_token(session, user_id, ["read"], None, expires, "test") for _ in range(2 * MANY)]
    basic = "Basic " + base64.b64encode(f"{who}:{token}".encode()).decode()
    version = hashlib.sha256(DEFAULT_TEXT.encode()).hexdigest()[:12]
    return {
        "replace_user_names": [{"body": {"first_name": "Ann", "last_name": "Ä"}}],
        "change_user_names": [{"body": {"last_name": "B"}}, {"body": {"username": who}}],
        "acknowledge": [{"body": {"version": version}}],
        "create_token": [{"body": {"scopes": ["power"], "days": 1, "note": "n"}}, {"body": {}}],
        "revoke_token": [{"path": {"id": stored.id}} for stored, _ in made[:MANY]],
        "logout": [{"headers": {"Authorization": f"Bearer {new.text}"}} for _, new in made[MANY:]],
        "login": [{"body": {"username": who, "password": token}}],
        "getkey": [{"headers": {"Authorization": basic}}],
    }
