"""Has the generated requests name objects that there are; schemathesis loads it, in a process of its own.

Three of four requests of an operation get the values of `known_objects`, in turn; the fourth keeps what was generated.
What was generated to be refused stays as it is, and so does what a link of an earlier answer gave.
"""

import base64
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation

_KNOWN: dict[str, Any] = json.loads(Path(os.environ["NUCLEUS_KNOWN_OBJECTS"]).read_text("utf-8"))
"""`token`: of who asks; `requests`: operation → requests."""

_CALLS: Counter[str] = Counter()
_ALWAYS_OTHER = ("revoke_token", "logout")
"""Operations that end a token: never that of who asks."""

_DIALECTS = ({}, {"Prefer": "respond-async"}, {"Accept": "application/json, application/problem+json"})
"""Of the published service, of operations, of problems."""


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Replace what was generated."""
    operation = case.operation.definition.raw["operationId"]
    number = _CALLS[operation]
    _CALLS[operation] += 1
    headers = {"Authorization": f"Bearer {_KNOWN['token']}"}
    requests = _KNOWN["requests"].get(operation)
    is_linked = case.meta is not None and case.meta.phase.name == "stateful"
    if requests and (number % 4 < 3 or operation in _ALWAYS_OTHER):
        known = requests[number % len(requests)]
        if _is_valid(case, "HEADER") or operation in _ALWAYS_OTHER:
            headers |= known.get("headers", {})
        if operation in _ALWAYS_OTHER or (_is_valid(case, "PATH") and not is_linked):
            case.path_parameters.update(known.get("path", {}))
        if "query" in known and _is_valid(case, "QUERY"):
            case.query = dict(known["query"])
        if _is_valid(case, "BODY"):
            _replace_body(case, known, kwargs)
    if number % 4 < 3 and _is_valid(case, "HEADER"):
        for name in ("If-Match", "Idempotency-Key", "Prefer"):
            case.headers.pop(name, None)
        headers |= _DIALECTS[number % 4]
        if case.method == "GET" and number % 8 == 6:
            headers["If-None-Match"] = "*"
    case.headers.update(headers)
    if not _is_valid(case, "BODY"):  # to a repeated key the stored answer is given, and no body is read
        case.headers.pop("Idempotency-Key", None)


def _is_valid(case: schemathesis.Case[Any], location: str) -> bool:
    return case.meta is None or not case.meta.is_negative_at(ParameterLocation[location])


def _replace_body(case: schemathesis.Case[Any], known: dict[str, Any], kwargs: dict[str, Any]) -> None:
    if "body" in known:
        case.body = known["body"]
    if "content" in known:
        kwargs["data"] = base64.b64decode(known["content"])
    if "form" in known:
        kwargs["files"] = [(name, (file, base64.b64decode(text))) for name, file, text in known["form"]]
