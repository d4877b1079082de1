"""Whether bash can read the sections of nodes; nothing in them is executed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.core.process import run
from rocks.install.graph.shell import is_for_bash, section_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.install.graph.records import Node

_BASH_SECONDS = 20
_BASH_PLACE = re.compile(r"^\S*bash: (?=line )", re.MULTILINE)


def check_sections(nodes: Iterable[Node]) -> None:
    """StateError, with file and line, for a section that bash cannot read."""
    for section in (section for node in nodes for section in node.sections if is_for_bash(section)):
        if fault := _fault(section_text(section)):
            raise StateError(f"{section.place}: bash cannot read this section: {fault}")


@lru_cache(maxsize=256)  # many hosts have the same sections
def _fault(text: str) -> str:
    """Why bash cannot read the text; '' when it can."""
    read = run(["bash", "-n"], deadline_seconds=_BASH_SECONDS, standard_input=text.encode())
    if not read.exit_status:
        return ""
    return (_BASH_PLACE.sub("", read.error_text).strip().splitlines() or ["no message"])[0]
