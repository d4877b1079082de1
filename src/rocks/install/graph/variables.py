"""The tag `var` of node files: variables of one file. Source: specification §6.3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.document import attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml import etree

VARIABLE_ATTRIBUTES = frozenset(("name", "val", "ref"))


class Variables:
    """The variables of one file, in the order in which its tags are read; the host's entities can be referred to."""

    def __init__(self, entities: Mapping[str, str]) -> None:
        self._entities = {name.lower(): value for name, value in entities.items()}
        self._values: dict[str, str] = {}

    def read(self, element: etree._Element) -> str:
        """Store the value in a tag and return ''; or return the value that it references. StateError for neither."""
        name = attribute(element, "name")
        if not name:
            raise StateError("<var> needs a name")
        if element.get("val") is not None:
            self._values[name] = str(element.get("val"))
            return ""
        referenced = attribute(element, "ref") or name
        value = self._values.get(referenced, self._entities.get(referenced.lower()))
        if value is None:
            raise StateError(f"<var>: {referenced} is neither a variable nor an attribute of the host")
        if element.get("ref") is None:
            return value
        self._values[name] = value
        return ""
