"""What clients of the published interface rely on is still there, and the comparison sees what is not."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.openapi_changes import breaking_changes, main
from nucleus.api.openapi import description

PUBLISHED = Path(__file__).parent / "published-openapi.json"


def test_clients_of_the_published_interface_can_use_this_one() -> None:
    """After a decision to break it, the file is written anew by

    python -m json.tool --compact docs/reference/nucleus-openapi.json tests/unit/nucleus/api/published-openapi.json
    """
    assert breaking_changes(json.loads(PUBLISHED.read_text("utf-8")), description()) == []


OLD: Any = {
    "paths": {
        "/node/{n}": {
            "get": {
                "parameters": [
                    {"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 10}}
                ],
                "responses": {
                    "200": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}
                    },
                    "404": {"content": {}},
                },
            },
            "put": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                                    "kind": {"enum": ["a", "b"], "type": "string"},
                                },
                            }
                        }
                    }
                },
                "responses": {"204": {}},
            },
        }
    },
    "components": {
        "schemas": {
            "Node": {
                "type": "object",
                "required": ["state"],
                "properties": {
                    "state": {"type": "string", "enum": ["on", "off"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
                },
            }
        }
    },
}


def _get(document: Any) -> Any:
    return document["paths"]["/node/{n}"]["get"]


def _sent(document: Any) -> Any:
    return document["paths"]["/node/{n}"]["put"]["requestBody"]["content"]["application/json"]["schema"]


def _node(document: Any) -> Any:
    return document["components"]["schemas"]["Node"]


BREAKS: dict[str, Callable[[Any], Any]] = {
    "GET /node/{n} is gone": lambda new: new["paths"]["/node/{n}"].pop("get"),
    "the query parameter limit is gone": lambda new: _get(new).pop("parameters"),
    "limit: maximum is 9 now": lambda new: _get(new)["parameters"][0]["schema"].update(maximum=9),
    "limit: integer is not taken": lambda new: _get(new)["parameters"][0]["schema"].update(type="string"),
    "the header parameter X is required now": lambda new: _get(new)["parameters"].append(
        {"in": "header", "name": "X", "required": True}
    ),
    "the answer 200 is gone": lambda new: _get(new)["responses"].pop("200"),
    "a body is required now": lambda new: new["paths"]["/node/{n}"]["put"]["requestBody"].update(
        required=True
    ),
    "the body.name: null is not taken": lambda new: _sent(new)["properties"].update(name={"type": "string"}),
    "the body.kind: b not taken": lambda new: _sent(new)["properties"]["kind"].update(enum=["a"]),
    "the body.kind is gone": lambda new: _sent(new)["properties"].pop("kind"),
    "the body.kind is required now": lambda new: _sent(new).update(required=["kind"]),
    "the answer 200.state is gone": lambda new: _node(new)["properties"].pop("state"),
    "the answer 200.state may be missing": lambda new: _node(new).update(required=[]),
    "the answer 200.state: lost possible now": lambda new: _node(new)["properties"]["state"]["enum"].append(
        "lost"
    ),
    "the answer 200.state: null is possible": lambda new: _node(new)["properties"].update(
        state={"anyOf": [{"type": "string", "enum": ["on"]}, {"type": "null"}]}
    ),
}

EXTENDS: list[Callable[[Any], Any]] = [
    lambda new: new["paths"].update({"/other": {"get": {}}}),
    lambda new: _get(new)["parameters"].append({"in": "query", "name": "more", "schema": {}}),
    lambda new: _get(new)["parameters"][0]["schema"].update(maximum=11),
    lambda new: _get(new)["responses"].pop("404"),
    lambda new: _sent(new)["properties"].update(more={"type": "string"}),
    lambda new: _sent(new)["properties"]["kind"]["enum"].append("c"),
    lambda new: _node(new)["properties"].update(more={"type": "string"}),
    lambda new: _node(new)["properties"]["state"].update(enum=["on"]),
]


@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_clients_is_named(sentence: str) -> None:
    new = copy.deepcopy(OLD)
    BREAKS[sentence](new)
    assert any(sentence in one for one in breaking_changes(OLD, new)), breaking_changes(OLD, new)


def test_what_is_added_breaks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extend in EXTENDS:
        new = copy.deepcopy(OLD)
        extend(new)
        assert breaking_changes(OLD, new) == []
    files = [tmp_path / "old", tmp_path / "new"]
    for file in files:
        file.write_text(json.dumps(OLD))
    assert main([str(file) for file in files]) == 0
    files[1].write_text(json.dumps({**OLD, "paths": {}}))
    assert main([str(file) for file in files]) == 1
    assert "GET /node/{n} is gone" in capsys.readouterr().out
    assert main([]) == 2
