"""The description of the REST interface: what is checked in is what the code does."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import pytest

from lab.namespace import CHECKOUT
from nucleus.api.openapi import description, reference_text
from nucleus.api.problems import PROBLEMS
from nucleus.api.representations import text_of

_FILE = CHECKOUT / "docs/reference/nucleus-openapi.json"


def test_the_file_is_the_description_of_the_code() -> None:
    """`make reference` writes it."""
    assert _FILE.read_text("utf-8") == reference_text()


def test_every_published_row_is_there() -> None:
    """The 34 rows of Table 1 are the operations `rowNN` of the release before."""
    published = json.loads((Path(__file__).parent / "published-openapi.json").read_text("utf-8"))["paths"]
    rows = {
        (path, method)
        for path, methods in published.items()
        for method, one in methods.items()
        if one["operationId"].startswith("row")
    }
    now = {(path, method) for path, methods in description()["paths"].items() for method in methods}
    assert len(rows) == 34 and rows <= now


def test_operations_have_names_and_tags() -> None:
    operations = [one for methods in description()["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names)) and not [name for name in names if re.search("row[0-9]", name)]
    assert {one["tags"][0] for one in operations} >= {"cluster", "computeset", "image", "operation", "user"}
    for one in operations:
        assert one["summary"] and "422" not in one["responses"] or one["responses"]["422"].get("$ref"), one
        assert "401" in one["responses"]


@pytest.mark.slow
def test_every_reference_has_its_target() -> None:
    content = description()
    for section, name in re.findall(r"#/components/(\w+)/(\w+)", reference_text()):
        assert name in content["components"][section]


def test_problems_are_what_old_clients_know() -> None:
    """They read the body of 400, 401 and 403 only, and know no 409, 422 and 423; 415 is the published `getkey`'s."""
    for slug, kind in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) and kind.title and kind.meaning.endswith(".")
        known = (400, 401, 403, 404, 405, 415, 500, 503)
        assert kind.legacy_status == (kind.status if kind.status in known else 400), slug


def test_a_moment_is_one_with_its_zone_by_whatever_name() -> None:
    """A program reads `Z`; a property of the published interface that is a number is seconds since 1970."""
    moments = re.compile(r".*_at|created|ended|started|expires|last_used|begins?|ends?|until")
    for name, schema in description()["components"]["schemas"].items():
        for key, value in schema.get("properties", {}).items():
            shapes = [value, *value.get("anyOf", ())]
            if moments.fullmatch(key) and not any(one.get("type") == "integer" for one in shapes):
                assert any(one.get("format") in ("date-time", "date") for one in shapes), (name, key, value)


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-3, minutes=-30))]
)
def test_a_moment_is_printed_in_utc_whatever_its_zone(zone: tzinfo) -> None:
    assert text_of(datetime(2026, 12, 1, 10, tzinfo=UTC).astimezone(zone)) == "2026-12-01T10:00:00.000Z"


def test_pages_print_a_moment_by_one_function_which_adds_the_zone() -> None:
    """The calendar's days are those of UTC, and say so."""
    for file in (CHECKOUT / "src/owners").rglob("*.js"):
        for line in file.read_text("utf-8").splitlines():
            if re.search(r"new Date\(.*\.toLocale|toLocale(Time|Date)String", line):
                assert "timeZoneName: " in line or "timeZone: 'UTC'" in line, f"{file.name}: {line}"
