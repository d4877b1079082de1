"""Declarations in TypeScript, against which the JavaScript of Nucleus' pages is checked.

python -m lab.page_types OPENAPI FOLDER...      prints them: of the objects of the REST interface, and of the
                                                elements by their ids, in the HTML and the scripts of the folders
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_NAMES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_MADE = re.compile(r"element\('([a-z]+)', \{ id: '([\w-]+)'")
"""An element that a script makes."""
_LIBRARIES = ("xterm.mjs", "addon-fit.mjs", "rfb.js", "uPlot.esm.js")


def declarations(schemas: dict[str, Any], elements: dict[str, set[str]]) -> Iterator[str]:
    """Lines. `schemas` by their names; `elements`: the tags by id."""
    yield "declare namespace Rest {"
    for name, schema in schemas.items():
        yield f"  interface {name} {_type_of(schema)}"
    yield "}"
    yield "interface Ids {"
    for identifier, tags in sorted(elements.items()):
        types = " & ".join(f'HTMLElementTagNameMap["{tag}"]' for tag in sorted(tags))
        yield f'  "{identifier}": {types};'
    yield "}"
    for name in _LIBRARIES:
        yield f'declare module "*/{name}";'


def _type_of(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"Rest.{schema['$ref'].rpartition('/')[2]}"
    if "enum" in schema:
        return " | ".join(json.dumps(one) for one in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type_of(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"({_type_of(schema.get('items', {}))})[]"
    if "properties" in schema:
        rows = (f"{json.dumps(key)}: {_type_of(one)};" for key, one in schema["properties"].items())
        return f"{{ {' '.join(rows)} }}"
    return _NAMES.get(schema.get("type", ""), "any")


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, value) for name, value in attrs if name == "id" and value]


def elements_of(folders: list[Path]) -> dict[str, set[str]]:
    """The tags of the elements of the pages, by id."""
    parser = _Elements()
    for folder in folders:
        for page in sorted(folder.rglob("*.html")):
            parser.feed(page.read_text("utf-8"))
        for script in sorted(folder.rglob("*.js")):
            parser.found += _MADE.findall(script.read_text("utf-8"))
    found: dict[str, set[str]] = {}
    for tag, identifier in parser.found:
        found.setdefault(identifier, set()).add(tag)
    return found


if __name__ == "__main__":
    description = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print(
        *declarations(description["components"]["schemas"], elements_of([Path(one) for one in sys.argv[2:]])),
        sep="\n",
    )
