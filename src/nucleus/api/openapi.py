"""OpenAPI 3.1 of the application: what the framework finds, with every refusal, and without what is not so.

`python -m nucleus.api.openapi FILE` writes it, as the code has it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from nucleus.api import models
from nucleus.api.problems import MEDIA_TYPE

ABOUT = (
    "Owners of virtual clusters use them through this service. Lists and single objects have ETags. A change that"
    " takes time is an operation: with `Prefer: respond-async` the answer is 202 and the operation; without it, it is"
    " that of the published service, with `Operation-Location`. Every POST, PUT, PATCH and DELETE takes an"
    " `Idempotency-Key`. Clients that neither send this preference nor accept application/problem+json get the"
    " refusals of the published service: a JSON string, and 400 for 408, 409, 412, 413, 422, 423 and 429."
)
_ALWAYS = ("400", "401", "403", "404", "429", "500", "503")
_OF_CHANGES = ("408", "409", "412", "413", "415", "422", "423")
_CHANGES = ("post", "put", "patch", "delete")
_IF_MATCH = (
    "the change is done only in the state that this ETag is of, else 412. For a cluster and its nodes: an ETag of the"
    " cluster, its frontend or a compute, with whatever fields; it holds until anything of the cluster changes. For an"
    " operation: its ETag. Other changes ignore it"
)
_HEADERS = (
    ("Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]*$"}),
    ("Prefer", {"type": "string"}),
    ("If-Match", {"type": "string", "description": _IF_MATCH}),
)


def describe(application: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if application.openapi_schema is not None:
        return application.openapi_schema
    found = FastAPI.openapi(application)
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (models.ProblemDetails, models.Operation, models.Image):
        content = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(content.pop("$defs", {}))
        schemas[model.__name__] = content
    found["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "a token of this service, or of the site's provider",
        },
        "basic": {"type": "http", "scheme": "basic", "description": "the password may be a token"},
    }
    found["components"]["responses"] = {"Problem": _problem()}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            _complete(path, method, operation)
    return found


def _problem() -> dict[str, Any]:
    return {
        "description": "Refused",
        "content": {
            "application/json": {"schema": {"type": "string"}},
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}},
        },
    }


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation["tags"] = [path.removeprefix("/v1").split("/")[1]]
    responses = operation["responses"]
    for status in (*_ALWAYS, *(_OF_CHANGES if method in _CHANGES else ())):
        responses[status] = {"$ref": "#/components/responses/Problem"}
    if path != "/rest-auth/login":
        operation["security"] = [{"bearer": []}, {"basic": []}]
    if method == "get":
        if path != "/v1/events":
            responses["304"] = {"description": "Unchanged since the ETag of If-None-Match"}
        responses.pop("422", None)
        return
    if "204" in responses or path == "/v1/computeset":
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Operation"}}}
        link = {"operationId": "get_operation", "parameters": {"id": "$response.body#/id"}}
        responses["202"] = {"description": "The operation", "content": content, "links": {"follow": link}}
    if "201" in responses and path == "/v1/computeset":
        parameters = {"s": "$response.body#/id"}
        responses["201"]["links"] = {"read": {"operationId": "get_computeset", "parameters": parameters}}
    known = operation.setdefault("parameters", [])
    known += [
        {"name": name, "in": "header", "required": False, "schema": schema} for name, schema in _HEADERS
    ]


def description() -> dict[str, Any]:
    """OpenAPI of the application; no database is needed."""
    from nucleus.api.app import create_application  # which imports this module
    from nucleus.configuration import Configuration
    from nucleus.mirror.pool import Pool

    configuration = Configuration()
    return create_application(configuration, Pool(configuration.database)).openapi()


def reference_text() -> str:
    """What the file has."""
    return json.dumps(description(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_text(), "utf-8")
