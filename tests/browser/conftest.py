"""A site of the simulator behind a real server, and a real Chromium that asks it. `make test-browser` has both."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.namespace import CHECKOUT
from lab.simulator import Simulator
from nucleus.api.access.authentication import store_token
from nucleus.backends.rocks import Rocks
from nucleus.configuration import (
    BatchSettings,
    Configuration,
    ConsoleSettings,
    DatabaseSettings,
    ImageSettings,
    PollSettings,
)
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from owners.computesets.batch import HostList
from tests.system.comet.conftest import HOSTS, Clock, Service, Site
from tests.system.conftest import initialised_data, mariadb
from tests.system.nucleus.conftest import nucleus_settings, pool, worker_schema

__all__ = ["initialised_data", "mariadb", "nucleus_settings", "pool", "worker_schema"]

LIBRARIES = Path(os.environ.get("BROWSER_TESTS", CHECKOUT / ".state/browser-tests"))
MILLISECONDS = 120_000
HOSTILE = "<img src=x onerror=\"document.title='harmed'\"><script>document.title='harmed'</script>'\"&amp;"
"""What other users may have written anywhere. Of a name only what its rules allow."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The distribution's Chromium, without a window."""
    sys.path.append(str(LIBRARIES / "python"))
    playwright = importlib.import_module("playwright.sync_api").sync_playwright().start()
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]  # the tests run as root
    browser = playwright.chromium.launch(
        executable_path="/usr/bin/chromium", args=options, timeout=MILLISECONDS
    )
    yield browser
    browser.close()
    playwright.stop()


@pytest.fixture
def hosts() -> list[str]:
    """Those that computesets run on."""
    return HOSTS


@pytest.fixture
def site(nucleus_settings: DatabaseSettings, pool: Pool, tmp_path: Path, hosts: list[str]) -> Iterator[Site]:
    """Clusters vc1 and vc2 of four computes, both of project alpha; ann is its member, root an operator."""
    simulator = Simulator(clusters=2, copy_seconds=4.0)
    configuration = Configuration(
        database=nucleus_settings,
        poll=PollSettings(power_seconds=0.5, topology_seconds=5.0),
        console=ConsoleSettings(libraries=str(CHECKOUT / ".state/browser")),
        batch=BatchSettings(hosts=hosts),
        images=ImageSettings(folder=str(tmp_path / "images"), for_disks=["debian-12"]),
    )
    guard = Guard(nucleus_settings, "poller")
    poller = Poller(configuration, Rocks(simulator, 60), guard)
    assert guard.take()
    poller.poll()
    with pool.transaction() as session:
        project = identity.add_project(session, "alpha")
        identity.add_allocation(session, "alp1")
        for name in ("vc1", "vc2"):
            (number,) = session.row("SELECT id FROM cluster WHERE name = %s", (name,)) or (0,)
            assign_cluster(session, number, project)
            identity.set_allocation(session, number, "alp1", True)
    calm = dataclasses.replace(
        configuration, poll=PollSettings(power_seconds=3600.0, topology_seconds=3600.0)
    )
    service = Service(calm, pool, simulator)
    found = Site(simulator, poller, pool, service, tmp_path, configuration, Clock())
    with found.at_work(HostList(pool, hosts)):
        yield found
    service.stop()


def token_of(
    site: Site, username: str, *more: str, is_operator: bool = False, first_name: str = "Kim"
) -> str:
    """A new user of the project, who has acknowledged, and a token with the rights of every day and `more`."""
    with site.pool.transaction() as session:
        user = identity.add_user(
            session, username, f"{username}@example.org", first_name, "Test", is_operator
        )
        project = identity.project_by_name(session, "alpha")
        identity.set_member(session, user, project.id, True)
        identity.acknowledge(session, user)
        scopes = ["power", "computeset", "console", "image", *more, *(["admin"] if is_operator else [])]
        return store_token(session, user, scopes, None, None, HOSTILE)[1].text


class Visit:
    """A page of somebody, and what went wrong on it."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.set_default_timeout(MILLISECONDS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console",
            lambda line: (
                self.faults.append(f"{line.text} {line.location.get('url')}")
                if line.type == "error"
                else None
            ),
        )

    def open(self, name: str = "clusters") -> Visit:
        self.page.goto(f"{self.url}/page/{name}", timeout=MILLISECONDS)
        return self

    def sign_in(self, token: str) -> Visit:
        self.page.fill("#password", token)
        self.page.press("#password", "Enter")
        self.sees("#live", "live")
        return self

    def confirm(self) -> None:
        """Answer the question that something destructive asks."""
        self.page.locator("dialog .destructive").click()

    def sees(self, place: str, text: str) -> None:
        """Wait until a place has the text."""
        self.page.locator(place).filter(has_text=text).first.wait_for(timeout=MILLISECONDS)

    def harms(self) -> list[str]:
        """Errors of scripts and of the policy; the refusal of an unknown visitor is none.

        Nor is that of an estimate which the service answers when the set has been started.
        """
        return [fault for fault in self.faults if " 401 " not in fault and not _is_late_estimate(fault)]


def _is_late_estimate(fault: str) -> bool:
    return " 409 " in fault and fault.endswith("/computeset/estimate")


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Callable[..., Visit]]:
    """A new browser window: visit(width=1280, scheme="light", zone="Europe/Berlin"), by default in the site's zone."""
    contexts = []

    def begin(width: int = 1280, scheme: str = "light", zone: str | None = None) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
            timezone_id=zone,
        )
        contexts.append(context)
        return Visit(context.new_page(), site.service.url)

    yield begin
    for context in contexts:
        context.close()
