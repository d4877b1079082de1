"""A refusal of a value says in words what is right, and names its place in the body."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from nucleus.api import models
from nucleus.api.problems import invalid_values
from nucleus.api.service import unknown_node
from owners.accounts import users
from owners.computesets.rest import NewComputeset


def _refusal(model: type[BaseModel], body: Any) -> dict[str, str]:
    """Pointer → detail of the refusal of a body."""
    with pytest.raises(ValidationError) as raised:
        model.model_validate(body)
    errors = [{**one, "loc": ("body", *one["loc"])} for one in raised.value.errors()]
    return dict(invalid_values(RequestValidationError(errors, body=body)).errors)


_MINUTES = "it must be a whole number of minutes, from 1 to 10000000; 90 is an hour and a half"
_COUNT = "it must be a whole number of nodes, from 1 to 100000"
_DAYS = "it must be a whole number of days, from 1 to 3650"
_SCOPE = (
    "it must be one of read, power, computeset, console, image, rename, cluster:reinstall, cluster:destroy; admin is"
    " for the site's operators"
)


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        (NewComputeset, {"cluster": "vc", "walltime_mins": "6h"}, {"#/walltime_mins": _MINUTES}),
        (NewComputeset, {"cluster": "vc", "walltime_mins": 0}, {"#/walltime_mins": _MINUTES}),
        (NewComputeset, {"cluster": "vc", "walltime_mins": 10**8}, {"#/walltime_mins": _MINUTES}),
        (NewComputeset, {"cluster": "vc", "walltime_mins": []}, {"#/walltime_mins": _MINUTES}),
        (NewComputeset, {"cluster": "vc", "walltime_mins": True}, {"#/walltime_mins": _MINUTES}),
        (NewComputeset, {"cluster": "vc", "count": True}, {"#/count": _COUNT}),
        (
            NewComputeset,
            {"cluster": "vc", "reservation": "x y"},
            {"#/reservation": "it must be letters, digits and _ . , -, at most 80 of them"},
        ),
        (NewComputeset, {"cluster": "\ud800"}, {"#/cluster": "it must be a text"}),
        (users.NewToken, {"days": "x"}, {"#/days": _DAYS}),
        (users.NewToken, {"days": 4000}, {"#/days": _DAYS}),
        (users.NewToken, {"scopes": ["read", "x"]}, {"#/scopes/1": _SCOPE}),
        (users.NewToken, {"scopes": ["read"] * 10}, {"#/scopes": "it must have at most 9 entries"}),
        (users.NewToken, {"note": "a\nb"}, {"#/note": "it must be a text without control characters"}),
        (
            models.NewName,
            {"name": "a b"},
            {"#/name": "it must be letters, digits, _ and -, at most 63 of them"},
        ),
        (models.NewName, {}, {"#/name": "it is missing"}),
        (models.NewName, {"name": "a", "nmae": "b"}, {"#/nmae": "there is no such field"}),
        (
            NewComputeset,
            {"cluster": "vc", "computes": ["a", 5, {"name": 3}]},
            {
                "#/computes": "it must be a text",
                "#/computes/1": "it must be a text, or it must be an object",
                "#/computes/2": "it must be a text",
                "#/computes/2/name": "it must be a text",
            },
        ),
        (
            models.NewNames,
            {"map": {"Host": "a/b"}},
            {"#/map/Host": "it must be letters, digits, _ and -, at most 63 of them"},
        ),
    ],
)
def test_a_refusal_says_what_is_right(model: type[BaseModel], body: Any, expected: dict[str, str]) -> None:
    found = _refusal(model, body)
    assert found == expected
    assert "constrained" not in json.dumps(found) and "pattern" not in json.dumps(found)


def test_the_refusal_of_the_frontend_among_computes_advises_no_other_command() -> None:
    """It is the same for powers, reads and names."""
    refused = unknown_node("vc1", "VC1")
    assert refused.detail == "vc1 is the frontend: leave its name out, or name computes"
