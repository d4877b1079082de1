"""What of one description of a REST interface (OpenAPI 3.1) its clients cannot rely on in another.

    python -m lab.openapi_changes OLD NEW      prints each such change; exit status 1 when there are any

Compared are paths, methods, parameters, bodies and answers: what clients send must still be taken, and what they read
must still be there. Texts, links, headers of answers and answers other than 2xx and 3xx are not compared.

What clients may rely on is the file tests/unit/nucleus/api/published-openapi.json: the description in
docs/reference is always what the code does now. A comparison with the last commit was refused: it needs git,
and passes when it runs after the commit. Who breaks the interface replaces the file, and adds a line that
begins with **Break** to NEWS.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_METHODS = ("get", "put", "post", "patch", "delete")
_UPPER = ("maxLength", "maximum", "maxItems")
_LOWER = ("minLength", "minimum", "minItems")


def breaking_changes(old: Json, new: Json) -> list[str]:
    """One sentence for each, in the order of the old description."""
    return list(dict.fromkeys(_Comparison(old, new).changes()))


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._open: set[tuple[int, int, bool]] = set()

    def changes(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method in methods.keys() & set(_METHODS):
                place = f"{method.upper()} {path}"
                now = self._new["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{place} is gone"
                    continue
                yield from self._parameters(place, methods[method], now)
                yield from self._body(place, methods[method], now)
                yield from self._answers(place, methods[method], now)

    def _parameters(self, place: str, old: Json, new: Json) -> Iterator[str]:
        before, after = (
            {(one["in"], one["name"].lower()): one for one in operation.get("parameters", ())}
            for operation in (old, new)
        )
        for key, one in before.items():
            name = f"{place}: the {key[0]} parameter {one['name']}"
            if key not in after:
                yield f"{name} is gone"
            else:
                yield from self._schemas(name, one.get("schema", {}), after[key].get("schema", {}), True)
        for key, one in after.items():
            if one.get("required") and not before.get(key, {}).get("required"):
                yield f"{place}: the {key[0]} parameter {one['name']} is required now"

    def _body(self, place: str, old: Json, new: Json) -> Iterator[str]:
        before, after = old.get("requestBody", {}), new.get("requestBody", {})
        if after.get("required") and not before.get("required"):
            yield f"{place}: a body is required now"
        yield from self._contents(f"{place}: the body", before, after, True)

    def _answers(self, place: str, old: Json, new: Json) -> Iterator[str]:
        for status, before in old.get("responses", {}).items():
            if status[0] in "23":
                after = new.get("responses", {}).get(status)
                if after is None:
                    yield f"{place}: the answer {status} is gone"
                else:
                    yield from self._contents(f"{place}: the answer {status}", before, after, False)

    def _contents(self, place: str, old: Json, new: Json, is_sent: bool) -> Iterator[str]:
        for kind, content in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{place} has no {kind} any more"
            else:
                now = new["content"][kind].get("schema", {})
                yield from self._schemas(place, content.get("schema", {}), now, is_sent)

    def _schemas(self, place: str, old: Json, new: Json, is_sent: bool) -> Iterator[str]:
        """What does not hold any more: that the new one takes all of the old one, or, of answers, has no more."""
        pair = (id(old), id(new), is_sent)
        if pair in self._open:  # a schema within itself
            return
        self._open.add(pair)
        before, after = _alternatives(self._old, old), _alternatives(self._new, new)
        inner, outer = (before, after) if is_sent else (after, before)
        for one in inner:
            found = [
                list(self._alike(place, *((one, other) if is_sent else (other, one)), is_sent))
                for other in outer
                if _fits(one, other)
            ]
            if not found:
                verb = "is not taken any more" if is_sent else "is possible now"
                yield f"{place}: {one.get('type', 'any value')} {verb}"
            elif all(found):
                yield from found[0]
        self._open.discard(pair)

    def _alike(self, place: str, old: Json, new: Json, is_sent: bool) -> Iterator[str]:
        narrow, wide = (new, old) if is_sent else (old, new)
        few, many = _values(narrow), _values(wide)
        if few is not None:
            more = ["other values"] if many is None else [str(one) for one in many if one not in few]
            if more:
                yield f"{place}: {', '.join(more)} {'not taken any more' if is_sent else 'possible now'}"
        if is_sent:
            for name in (*_UPPER, *_LOWER, "pattern"):
                if name in new and _is_narrower(name, old.get(name), new[name]):
                    yield f"{place}: {name} is {new[name]} now"
        if old.get("type") == "array":
            yield from self._schemas(f"{place}[]", old.get("items", {}), new.get("items", {}), is_sent)
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self._schemas(f"{place}.{name}", schema, after[name], is_sent)
            elif not is_sent or new.get("additionalProperties") is False:
                yield f"{place}.{name} is gone"
        must, must_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(must_now - must if is_sent else (must - must_now) & after.keys()):
            yield f"{place}.{name} {'is required now' if is_sent else 'may be missing now'}"


def _alternatives(document: Json, schema: Json) -> list[Json]:
    """The schemas of which one fits, without references."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts is None:
        return [schema]
    return [one for part in parts for one in _alternatives(document, part)]


def _fits(one: Json, other: Json) -> bool:
    kinds = (one.get("type"), other.get("type"))
    return kinds[1] is None or kinds[0] == kinds[1] or kinds == ("integer", "number")


def _values(schema: Json) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _is_narrower(name: str, old: Any, new: Any) -> bool:
    if name == "pattern":
        return bool(old != new)
    if old is None:
        return name in _UPPER or new > 0
    return bool(new < old if name in _UPPER else new > old)


def main(arguments: list[str]) -> int:
    """Print what is broken; the number of arguments decides about help."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    old, new = (json.loads(Path(name).read_text("utf-8")) for name in arguments)
    found = breaking_changes(old, new)
    print("\n".join(found) if found else "clients of the old description can use the new one")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
