"""Several nodes as one XML document, the way in which the commands of the pipeline pass them on.

The prologue declares the host's values as entities. The root has them as a dictionary in its attribute `attrs`, from
which conditions are evaluated. `loader` lists the nodes in their order; the tags of all nodes follow. A document comes
from another program: its entities are read here as plain texts, and no parser expands them.

Letting the XML parser expand entities within limits was refused: a document may come from anywhere, and is
often read by root. Programs (`eval`) run when a document is generated and by `report post`, never when one is
read, and without variables that choose a program's code. Each tag carries roll, file and line of its source
for messages.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from lxml import etree

from rocks.core.errors import StateError, UserError
from rocks.install.graph.document import (
    HostContext,
    attribute,
    entity_text,
    is_valid_xml,
    parse_document,
    where,
)
from rocks.install.graph.tags import NodeTree, expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rocks.install.graph.tags import Frontend


_ENTITY_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_NODE_NAME = re.compile(r"[A-Za-z0-9_][\w.+-]*", re.ASCII)
_SIMPLE = re.compile(r"[^'\"\\\x00-\x1f\x7f-\x9f\u2028\u2029]*")
_QUOTED = {'"': "&quot;", "'": "&apos;"}
_END = re.compile(r"</kickstart\s*>|<kickstart(?:[^<>\"']|\"[^\"]*\"|'[^']*')*/>")
_DECLARATION = re.compile(r"\A(\ufeff?\s*)<\?xml\b[^>]*\?>")
_DOCTYPE = re.compile(
    r"\A(?P<before>(?>\s+|<!--.*?-->|<\?.*?\?>)*+)"
    r"<!DOCTYPE\s+[\w-]+\s*(?:\[(?P<inside>(?:[^]\"']|\"[^\"]*\"|'[^']*')*+)\]\s*)?>",
    re.DOTALL,
)
_DECLARED = re.compile(
    r"\s*<!ENTITY\s+(?P<name>[\w.-]+)\s+(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)')\s*>\s*"
)
_REFERENCE = re.compile(r"&(#x[0-9a-fA-F]{1,6}|#[0-9]{1,7}|[\w.-]+);|&|<")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class NodeDocument(NamedTuple):
    """Nodes in their order, and the values of the host for which they were generated."""

    context: HostContext
    trees: tuple[NodeTree, ...]


def write_document(trees: Iterable[NodeTree], values: Mapping[str, str]) -> str:
    """The document of the nodes, for a host with these attributes and entities."""
    trees = list(trees)
    names = sorted(name for name in values if _ENTITY_NAME.fullmatch(name) and is_valid_xml(values[name]))
    literals = (f"{name!r}: {_literal(name, values[name], name in names)}" for name in sorted(values))
    attributes = "{" + ", ".join(_quoted_once(one) for one in literals) + "}"
    lines = ['<?xml version="1.0" standalone="no"?>', "<!DOCTYPE rocks-graph ["]
    lines += [f'<!ENTITY {name} "{entity_text(values[name])}">' for name in names]
    lines += ["]>", f'<kickstart attrs="{attributes}">', "<loader>"]
    lines += [_loaded(tree) for tree in trees]
    lines.append("</loader>")
    for tree in trees:
        for element in tree.root:
            lines.append(etree.tostring(element, encoding="unicode", with_tail=False))
    lines.append("</kickstart>")
    return "\n".join(lines) + "\n"


def read_documents(
    text: str, place: str, given: Mapping[str, str], frontend: Frontend | None
) -> NodeDocument:
    """The nodes of one document, or of several one after the other, such as node files.

    Values in `given` override those in the text. `frontend` None: tags that must be processed are errors. StateError,
    with file and line, for invalid XML, entities other than plain texts, and invalid tags.
    """
    values = dict(given)
    trees: list[NodeTree] = []
    for document in _split(text):
        body, declared = _without_doctype(document, place)
        values = {**declared, **values}
        root = parse_document(body.encode(), place, HostContext(values, values, {}))
        if root.tag != "kickstart":
            raise StateError(
                f"{place} is not a document of nodes: its root is <{root.tag}> and not <kickstart>"
            )
        if root.get("attrs"):
            values = {**read_dictionary(str(root.get("attrs")), f"{where(root, place)}: attrs"), **values}
        trees += _trees(root, place, HostContext(values, values, {}), frontend)
    if not trees:
        raise UserError(
            f"{place} has no nodes; the command before it prints them: rocks list host xml HOST, or "
            "rocks list node xml NODE"
        )
    return NodeDocument(HostContext(values, values, {}), tuple(trees))


def of_rolls(trees: Sequence[NodeTree], rolls: Sequence[str]) -> list[NodeTree]:
    """The nodes of these rolls; all when no roll is given."""
    return [tree for tree in trees if not rolls or tree.roll in rolls]


def _literal(name: str, value: str, is_entity: bool) -> str:
    """A value in the dictionary: its entity, or where that would end the text, the text itself as a literal."""
    return f"'&{name};'" if is_entity and _SIMPLE.fullmatch(value) else ascii(value)


def _quoted_once(item: str) -> str:
    """An item of the dictionary for a quoted XML attribute; a reference to an entity stays one."""
    name, _, value = item.partition(": ")
    if re.fullmatch(r"'&[A-Za-z_][\w.-]*;'", value, re.ASCII) and name == f"'{value[2:-2]}'":
        return f"{name}: {value}"
    return escape(item, _QUOTED)


def _loaded(tree: NodeTree) -> str:
    element = etree.Element("node", {"name": tree.name, "roll": tree.roll, "file": tree.place})
    return etree.tostring(element, encoding="unicode")


def _split(text: str) -> Iterator[str]:
    """Each document of the text; line ends are added in front, so that lines keep their numbers."""
    start = 0
    for found in _END.finditer(text):
        yield "\n" * text.count("\n", 0, start) + text[start : found.end()]
        start = found.end()
    if text[start:].strip():
        yield "\n" * text.count("\n", 0, start) + text[start:]


def _without_doctype(document: str, place: str) -> tuple[str, dict[str, str]]:
    """(the document without its DOCTYPE, in the same lines; the entities that it declared)."""
    document = _DECLARATION.sub(lambda it: it[1] + "\n" * it[0].count("\n", len(it[1])), document)
    found = _DOCTYPE.match(document)
    if found is None:
        return document, {}
    declared: dict[str, str] = {}
    inside = re.sub(r"<!--.*?-->", " ", found["inside"] or "", flags=re.DOTALL)
    position = 0
    while inside[position:].strip():
        one = _DECLARED.match(inside, position)
        if one is None:
            line = document.count("\n", 0, found.start("inside")) + inside.count("\n", 0, position) + 1
            raise StateError(
                f'{place}, line {line}: a DOCTYPE may contain <!ENTITY NAME "TEXT"> and nothing else'
            )
        value = one["double"] if one["double"] is not None else one["single"]
        declared.setdefault(one["name"], _plain_text(_characters(value), one["name"], place))
        position = one.end()
    gap = "\n" * document.count("\n", found.end("before"), found.end())
    return found["before"] + gap + document[found.end() :], declared


def _characters(value: str) -> str:
    """The value with its character references replaced, as XML does it in a declaration."""
    return _REFERENCE.sub(
        lambda found: _character(found[1]) if (found[1] or "").startswith("#") else found[0], value
    )


def _plain_text(value: str, name: str, place: str) -> str:
    """The text for which an entity stands. StateError when it contains tags or other entities."""

    def replaced(found: re.Match[str]) -> str:
        reference = found[1] or ""
        if reference.startswith("#"):
            return _character(reference)
        if reference not in _NAMED:
            raise StateError(
                f"{place}: the entity {name} contains {found[0]!r}; an entity is plain text, without tags and entities"
            )
        return _NAMED[reference]

    return _REFERENCE.sub(replaced, value)


def _character(reference: str) -> str:
    number = int(reference[2:], 16) if reference[1] == "x" else int(reference[1:])
    return chr(number) if number < 0x110000 else "\ufffd"


def _trees(
    root: etree._Element, place: str, context: HostContext, frontend: Frontend | None
) -> list[NodeTree]:
    """The nodes of one document: those that the loader lists, or the document itself as one node."""
    loader = root.find("loader")
    if loader is None:
        return [expand(root, "input", place, context, frontend)]
    found: dict[str, NodeTree] = {}
    for node in loader:
        name, file = attribute(node, "name"), attribute(node, "file")
        if node.tag != "node" or not _NODE_NAME.fullmatch(name):
            raise StateError(
                f"{where(node, place)}: <loader> contains <node name= roll= file=> and nothing else"
            )
        found[file] = NodeTree(name, file, attribute(node, "roll") or "base", etree.Element("kickstart"))
    root.remove(loader)
    expanded = expand(root, "input", place, context, frontend)
    for element in list(expanded.root):
        tree = found.get(attribute(element, "file"))
        if tree is None:
            raise StateError(f"{where(element, place)}: <loader> does not list the file of this tag")
        tree.root.append(element)
    return list(found.values())


# Attributes of a host as text: a dictionary in Python's notation, or lines of `name:value`. Neither is evaluated.


LONGEST = 4_000_000
"""Characters of a dictionary or a file of attributes."""


def read_dictionary(text: str, title: str) -> dict[str, str]:
    """The dictionary in the text; numbers and truth values become texts. UserError, which names `title`, for others."""
    if len(text) > LONGEST:
        raise UserError(f"{title} is longer than {LONGEST} characters")
    try:
        found = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise UserError(f"{title} cannot be read: write {{'name': 'value', 'other': 'value'}}") from None
    if not isinstance(found, dict):
        raise UserError(f"{title} is not a dictionary: write {{'name': 'value', 'other': 'value'}}")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | None):
            raise UserError(f"{title}: {name!r} must be a text with a text as its value")
    return {name: str(value) for name, value in found.items() if value is not None}


def read_lines(text: str, title: str) -> dict[str, str]:
    """The attributes in lines of `name:value`; blanks around both are dropped. UserError for other lines."""
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = line.partition(":")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not colon or not name.strip():
            raise UserError(f"{title}, line {number}: expected name:value")
        values[name.strip()] = value.strip()
    return values
