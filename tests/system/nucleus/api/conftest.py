"""The service on a real MariaDB, with two projects that must not see each other.

`people`    tokens of ann (project alpha, cluster vc2), bob (beta, vc3) and root (an operator)
`service`   requests to the application, in this process
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nucleus.api import decorators
from nucleus.api.access.authentication import store_token
from nucleus.api.app import create_application
from nucleus.api.nginx import Bounds
from nucleus.cli.main import main
from nucleus.configuration import BatchSettings, Configuration, DatabaseSettings, ImageSettings
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool, Session
from tests.system.nucleus.api.http_client import BOUNDS, Answer, Client, serving
from tests.system.nucleus.conftest import add_cluster

MODERN = {"Prefer": "respond-async"}
PROBLEMS = {"Accept": "application/json, application/problem+json"}
POWER = ("PUT", "/v1/cluster/vc2/frontend/poweron")
ISO = bytes(0x8001) + b"CD001" + bytes(4096)
"""The smallest file that passes for an image."""


def add_person(session: Session, username: str, *projects: str, is_operator: bool = False) -> str:
    """A user of these projects, who has acknowledged; returns a token with all rights."""
    user = identity.add_user(
        session, username, f"{username}@example.org", username.title(), "Test", is_operator
    )
    for name in projects:
        project = identity.project_by_name(session, name)
        identity.set_member(session, user, project.id, True)
    identity.acknowledge(session, user)
    scopes = ["power", "computeset", "console", "image", "rename", "cluster:reinstall", "cluster:destroy"]
    scopes += ["admin"] if is_operator else []
    return store_token(session, user, scopes, None, None, "test")[1].text


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done here: who does not follow an operation gets the answer at once."""
    monkeypatch.setattr(decorators, "LONGEST_WAIT_SECONDS", 0)


@pytest.fixture
def people(pool: Pool) -> dict[str, str]:
    """Username → token. Both clusters have four computes that are off, and an allocation."""
    with pool.transaction() as session:
        for cluster, project in (("vc2", "alpha"), ("vc3", "beta")):
            number = add_cluster(session, cluster, 4, project)
            session.execute(
                "UPDATE cluster SET observed_power = UTC_TIMESTAMP(3), observed_topology = UTC_TIMESTAMP(3),"
                " observed_image = UTC_TIMESTAMP(3)"
            )
            identity.add_allocation(session, f"{project}-account")
            identity.set_allocation(session, number, f"{project}-account", True)
        return {
            "ann": add_person(session, "ann", "alpha"),
            "bob": add_person(session, "bob", "beta"),
            "root": add_person(session, "root", is_operator=True),
        }


@pytest.fixture
def configuration(nucleus_settings: DatabaseSettings, tmp_path: Path) -> Configuration:
    """Settings of the test's service."""
    return Configuration(
        database=nucleus_settings,
        images=ImageSettings(folder=str(tmp_path / "images")),
        batch=BatchSettings(hosts=[f"host-{number}" for number in range(6)]),
    )


@pytest.fixture
def service(configuration: Configuration, pool: Pool, people: dict[str, str]) -> Iterator[Client]:
    """The application, asked by people."""
    with started(configuration, pool, people) as client:
        yield client


@contextlib.contextmanager
def started(
    configuration: Configuration, pool: Pool, people: dict[str, str], bounds: Bounds = BOUNDS
) -> Iterator[Client]:
    """The application of a configuration."""
    application = create_application(configuration, pool)
    with (
        tempfile.TemporaryDirectory(prefix="nucleus-") as folder,
        serving(application, configuration, Path(folder), people, bounds) as client,
    ):
        yield client


def changed(configuration: Configuration, section: str, **values: Any) -> Configuration:
    """The configuration with other values of a section."""
    return dataclasses.replace(
        configuration, **{section: dataclasses.replace(getattr(configuration, section), **values)}
    )


def start(service: Client, **body: object) -> Answer:
    """POST of a set of vc2; the next one is not one too many in its minute."""
    service.forget_rates()
    return service.ask("ann", "POST", "/v1/computeset/", json={"cluster": "vc2", **body}, headers=PROBLEMS)


ALL, SITES = "/v1/reservation", "/v1/reservation/site"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ann"
_base = datetime.now(UTC)


@pytest.fixture(autouse=True)
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are counted from an hour after the begin of each test; a run takes longer than that."""
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    monkeypatch.setattr("tests.system.nucleus.api.conftest._base", later)


def base() -> datetime:
    """An hour after the test began."""
    return _base


def at(hours: float) -> str:
    return (base() + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def requested(begin: float = 0, hours: float = 2, **other: Any) -> dict[str, Any]:
    """The body of a reservation, so many hours from an hour after the test began."""
    times = {"begin": at(begin), "end": at(begin + hours)}
    return {"site": "UCSD", "vc": "dock6", **times, "cpus": 16, "memory_gb": 4, "public_key": KEY, **other}


def reserve(service: Client, who: str = "ann", **body: Any) -> Any:
    service.forget_rates()
    return service.ask(who, "POST", ALL, json=requested(**body), headers=PROBLEMS)


@pytest.fixture
def sites(pool: Pool, people: dict[str, str], environment: None) -> None:
    """UCSD with 64 CPUs and 192 GB, which project alpha administers, and NCHC with 1 and 1, reached by SSH."""
    with pool.transaction() as session:
        identity.add_project(session, "ucsd-admins")
        people["eve"] = add_person(session, "eve", "ucsd-admins")
        people["nobody"] = add_person(session, "nobody")
    add = ["site", "add"]
    assert main([*add, "UCSD", "--cpus=64", "--memory-gb=192", "--project=ucsd-admins"]) == 0
    assert main([*add, "NCHC", "--cpus=1", "--memory-gb=1", "--ent", "--address=root@nchc.example.org"]) == 0
    assert main([*add, "NCHC", "--cpus=1", "--memory-gb=1"]) == 1
    assert main([*add, "X", "--cpus=0", "--memory-gb=1"]) == 1
    assert main([*add, "X", "--cpus=1", "--memory-gb=1", "--address=-oProxyCommand=x@h"]) == 1
