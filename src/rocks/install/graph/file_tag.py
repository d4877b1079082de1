"""The tag `file` of node files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.core.errors import StateError
from rocks.install.graph.document import attribute
from rocks.install.graph.records import File, FileMode

if TYPE_CHECKING:
    from lxml import etree

FILE_ATTRIBUTES = frozenset(("name", "mode", "src", "perms", "owner", "vars", "expr", "rcs", "include"))

_PERMISSIONS = re.compile(r"[0-7]{3,4}")
_OWNER = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*)(?:[.:]([A-Za-z0-9_][A-Za-z0-9_-]*))?", re.ASCII)
_FIRST_LINE_END = re.compile(r"\A[ \t]*\n")
_LAST_BLANKS = re.compile(r"\n[ \t]*\Z")


def read_file(element: etree._Element, text: str) -> File:
    """The file that a tag describes; `text` is its content. StateError for an invalid tag."""
    path = attribute(element, "name")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise StateError(f"<file> needs the whole path of a file as its name, not {path!r}")
    try:
        mode = FileMode(attribute(element, "mode", "create"))
    except ValueError:
        raise StateError(f"the mode of {path} is create, append or pipe") from None
    source, command = attribute(element, "src"), attribute(element, "expr")
    content = None if not text.strip() else _content(text)
    if source and mode is not FileMode.PIPE:
        raise StateError(f"{path} has src, which goes with the mode pipe")
    if command and content is not None:
        raise StateError(f"{path} has a text and expr; one of them is its content")
    if mode is FileMode.PIPE and content is None:
        raise StateError(f"{path} has the mode pipe and no program through which it goes")
    return File(
        path,
        mode,
        content,
        source,
        command,
        _permissions(path, attribute(element, "perms")),
        _owner(path, attribute(element, "owner")),
        _choice(element, path, "vars", "literal", "expanded"),
        not _choice(element, path, "rcs", "true", "false"),
    )


def _content(text: str) -> str:
    """Without the line on which the tag begins, and the indentation of the one on which it ends."""
    text = _FIRST_LINE_END.sub("", text)
    text = _LAST_BLANKS.sub("\n", text)
    return text if text.endswith("\n") else f"{text}\n"


def _permissions(path: str, text: str) -> str:
    if text and not _PERMISSIONS.fullmatch(text):
        raise StateError(f"the permissions of {path} are octal digits such as 0644, not {text!r}")
    return f"{int(text, 8):o}" if text else ""


def _owner(path: str, text: str) -> str:
    found = _OWNER.fullmatch(text)
    if text and not found:
        raise StateError(f"the owner of {path} is user or user.group, not {text!r}")
    return ":".join(part for part in found.groups() if part) if found else ""


def _choice(element: etree._Element, path: str, name: str, usual: str, other: str) -> bool:
    """Whether an attribute has the value `other`; StateError unless it is `usual` or `other`."""
    word = attribute(element, name, usual) or usual
    if word not in (usual, other):
        raise StateError(f"{name} of {path} is {usual} or {other}, not {word!r}")
    return word == other
