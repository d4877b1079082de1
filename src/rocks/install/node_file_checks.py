"""Whether node files can be read, and their sections by bash; nothing in them is executed."""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.process import run
from rocks.install.graph.document import File, FileMode, HostContext, When, entity_names
from rocks.install.graph.shell import is_for_bash, section_text
from rocks.install.graph.tags import read_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rocks.install.graph.document import Node, Source
    from rocks.install.graph.tags import Frontend

_ATTRIBUTES = {"os": "linux", "arch": "x86_64", "packaging": "deb"}
"""Those of the most hosts; parts with conditions on others are read with the profile of a host that has them."""

_UNKNOWN = "unknown_value"
"""In the place of what hosts have; an error that quotes it is no error of the file."""

_BASH_SECONDS = 20
_BASH_PLACE = re.compile(r"^\S*bash: (?=line )", re.MULTILINE)


def check_node_file(frontend: Frontend, name: str, source: Source) -> None:
    """StateError, with file and line, for invalid XML, an unknown tag, a file to include that is not there, or a
    section that bash cannot read, whatever attributes a host has. No `eval` is executed.
    """
    errors: list[StateError] = []
    # a word, a path; what bash cannot read with a word, it may without
    for value in (_UNKNOWN, f"/{_UNKNOWN}", ""):
        context = HostContext(
            _ATTRIBUTES, _ATTRIBUTES, {}, is_lenient=True, is_evaluated=False, unknown=value
        )
        try:
            check_sections([read_node(name, source.place, source.data, context, frontend)])
            return
        except StateError as error:
            errors.append(error)
    for fault in errors[:2]:
        if _UNKNOWN not in str(fault):
            raise fault


def created_files(frontend: Frontend, name: str, source: Source, attributes: Mapping[str, str]) -> list[File]:
    """The files that a node file creates, with a content, on hosts with these attributes. Errors as of reading it.

    Any other entity is its own name, so that the paths of different files differ.
    """
    values = {**_ATTRIBUTES, **attributes}
    entities = {**{entity: entity for entity in entity_names(source.data)}, **values}
    context = HostContext(values, entities, {}, is_lenient=True, is_evaluated=False, unknown=_UNKNOWN)
    sections = read_node(name, source.place, source.data, context, frontend).sections
    files = (it for one in sections if one.when is not When.PRE for it in one.parts if isinstance(it, File))
    return [file for file in files if file.mode is FileMode.CREATE and (file.text or file.command)]


def check_sections(nodes: Iterable[Node]) -> None:
    """StateError, with file and line, for a section that bash cannot read."""
    for section in (section for node in nodes for section in node.sections if is_for_bash(section)):
        if fault := _fault(section_text(section)):
            raise StateError(f"{section.place}: bash cannot read this section: {fault}")


@lru_cache(maxsize=256)  # many hosts have the same sections
def _fault(text: str) -> str:
    """Why bash cannot read the text; '' when it can."""
    check = partial(run, deadline_seconds=_BASH_SECONDS, standard_input=text.encode())
    read = check(["bash", "-n"])
    # a section may switch extglob on for its next lines, which here it does not
    if not read.exit_status or not check(["bash", "-O", "extglob", "-n"]).exit_status:
        return ""
    return (_BASH_PLACE.sub("", read.error_text).strip().splitlines() or ["no message"])[0]
