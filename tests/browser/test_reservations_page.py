"""The page of reservations: what a week has left of a site, and cancelling a reservation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.conftest import Visit, token_of
from tests.browser.test_owners_pages import check_page
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ann"


def test_a_week_shows_what_a_reservation_leaves_until_it_is_cancelled(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """The published case: 64 CPUs and 192 GB, of which 16 and 4 are reserved."""
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        for name, is_available in (("UCSD", True), ("NCHC", False)):
            columns = {"name": name, "cpus": 64, "memory_gb": 192, "is_available": is_available}
            session.insert("reservation_site", columns)
    day = (datetime.now(UTC) + timedelta(days=7)).date()
    owner = visit().open().sign_in(token)
    owner.page.get_by_role("link", name="Reservations").click()
    owner.sees("#mine", "No active reservations.")
    owner.sees("#sites", "It cannot be reserved at present.")
    assert owner.page.locator("td", has_text="48 CPUs").count() == 0
    owner.page.get_by_role("button", name="Earlier week").click()
    owner.sees("section:has-text('UCSD') td[colspan='24']", "past")
    owner.page.locator("td", has_text="64 CPUs").first.wait_for(state="detached")
    for _ in range(2):
        owner.page.get_by_role("button", name="Later week").click()
    owner.page.get_by_role("button", name="Reserve UCSD").click()
    values = {
        "Cluster image": "dock6",
        "From": f"{day}T10:00",
        "To": f"{day}T18:00",
        "CPUs": "65",
        "GB of memory": "4",
        "Title": "HKU BioLinux cluster",
        "Description": "for Monday's class",
    }
    for label, value in {**values, "public SSH key": "none"}.items():
        owner.page.get_by_label(label).fill(value)
    reserve = owner.page.locator("dialog").get_by_role("button", name="Reserve")
    reserve.click()
    owner.sees("#public_key-wrong", "one line")
    check_page(owner)
    sent: list[str] = []
    owner.page.on("request", lambda one: sent.append(one.method))
    owner.page.get_by_label("public SSH key").fill("-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXk")
    reserve.click()
    owner.sees("#public_key-wrong", "stays with you")
    assert "POST" not in sent
    owner.page.get_by_label("public SSH key").fill(KEY)
    reserve.click()
    owner.sees("dialog [role=alert]", "choose another time, or less")
    owner.page.get_by_label("CPUs").fill("16")
    reserve.click()
    owner.sees("#message", "UCSD is reserved from ")
    owner.sees("section:has-text('UCSD') td[colspan='8']", "48 CPUs 188 GB")
    owner.sees("section:has-text('UCSD') td[colspan='10']", "64 CPUs 192 GB")
    owner.sees("#mine", "dock6 at UCSD")
    owner.sees("#mine", "HKU BioLinux cluster")
    owner.sees("#mine", "for Monday's class")
    owner.sees("#mine", f"{day} 10:00 UTC to {day} 18:00 UTC")
    check_page(owner, "reservations")
    owner.page.get_by_role("button", name="Cancel reservation").click()
    owner.confirm()
    owner.sees("#mine", "No active reservations.")
    owner.page.locator("td", has_text="48 CPUs").wait_for(state="detached")
    assert [one for one in owner.harms() if "400" not in one and "409" not in one] == []
