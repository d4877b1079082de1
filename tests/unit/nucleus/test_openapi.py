"""The description of the REST interface: what is checked in is what the code does."""

import re

from lab.namespace import CHECKOUT
from nucleus.api.problems import PROBLEMS
from nucleus.api.reference import description, reference_text

_FILE = CHECKOUT / "docs/reference/nucleus-openapi.json"


def test_the_file_is_the_description_of_the_code() -> None:
    """`make reference` writes it."""
    assert _FILE.read_text("utf-8") == reference_text()


def test_every_published_row_is_there() -> None:
    operations = [one for methods in description()["paths"].values() for one in methods.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    assert {f"row{number:02}" for number in range(1, 35)} <= set(names)
    for one in operations:
        assert one["summary"] and "422" not in one["responses"] or one["responses"]["422"].get("$ref"), one
        assert "401" in one["responses"]


def test_every_reference_has_its_target() -> None:
    content = description()
    for section, name in re.findall(r"#/components/(\w+)/(\w+)", reference_text()):
        assert name in content["components"][section]


def test_problems_are_what_old_clients_know() -> None:
    """They read the body of 400, 401 and 403 only, and know no 409, 422 and 423."""
    for slug, kind in PROBLEMS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) and kind.title and kind.meaning.endswith(".")
        known = (400, 401, 403, 404, 405, 406, 500, 503)
        assert kind.legacy_status == (kind.status if kind.status in known else 400), slug
