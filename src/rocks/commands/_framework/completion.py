"""What may follow at the cursor of a command line: words of commands, parameters, values, names of objects.

Light: it runs at each press of a key. Commands are not imported: ours are in an index, and of those of other rolls the
text is read. A file of the names of hosts was refused, which every change would have to write; names are one light
statement.
"""
# ruff: noqa: PTH112, PTH118, PTH123, PTH208 - pathlib would cost start-up time

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from rocks.commands._framework.command_index import find_in_index
from rocks.commands._framework.declarations import (
    GENERAL_PARAMETERS,
    Taken,
    docstring_of,
    taken_in_text,
)
from rocks.commands._framework.shell_quoting import is_plain
from rocks.commands._framework.tree import folders_of, is_command_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    NamesThatBegin = Callable[[str, str], list[str]]
    """(kind of object, beginning of its name) → names."""

_KINDS = {
    "action": "bootaction",
    "client": "host",
    "device": "iface",
    "network": "network",
    "physnode": "physicalhost",
    "remotehost": "host",
    "subnet": "network",
    "vm-host": "physicalhost",
    "zvol": "volume",
}
"""Name of an argument or parameter → the kind of object it names, where the two differ."""
_SAME = frozenset(
    (
        "appliance",
        "attr",
        "distribution",
        "frontend",
        "graph",
        "host",
        "iface",
        "membership",
        "nas",
        "roll",
        "volume",
    )
)
_FILE, _FOLDER, _NONE = "file", "folder", "none"
_MAX_PATHS = 10_000
_OPERATING_SYSTEMS = ("linux", "sunos")
_MAX_BYTES = 1 << 20


class Completions(NamedTuple):
    """What may follow: texts that are known at once, and the kinds of objects whose names may follow `before`."""

    texts: list[str]
    kinds: list[str]
    before: str
    beginning: str

    def all(self, names_that_begin: NamesThatBegin) -> list[str]:
        """The texts, and the names; only those that a shell reads as they are."""
        found = list(self.texts)
        for kind in self.kinds:
            found += [self.before + name for name in names_that_begin(kind, self.beginning) if is_plain(name)]
        return list(dict.fromkeys(found))


def completions(texts: Sequence[str], current: str, trees: Sequence[str]) -> Completions:
    """What may follow after `texts`, the arguments of `rocks`, in place of `current`, which may be empty.

    A parameter ends with `=`.
    """
    texts = list(texts)
    if texts[:1] == ["help"]:
        following = _children(texts[1:], trees) if _length(texts[1:], trees) == len(texts) - 1 else []
        return Completions(_that_begin(following, current), [], "", current)
    length = _length(texts, trees)
    found = _children(texts, trees) if length == len(texts) else []
    declared = _declared(texts[:length], trees)
    name, equals, value = current.partition("=")
    if equals:
        return _values(_parameter(name, declared), f"{name}=", value)
    given = [text for text in texts[length:] if "=" not in text]
    named = {text.partition("=")[0] for text in texts[length:]}
    if declared:
        parameters = [it.name for it in declared if it.kind == "param"]
        parameters += GENERAL_PARAMETERS if current else []
        found += [f"{name}=" for name in parameters if name not in named]
        found += [] if given else ["help"]
    known, kinds = _that_begin(found, current), []
    for it in _next(declared, len(given)):
        values = _values(it, "", current)
        known += values.texts
        kinds += values.kinds
    return Completions(known, list(dict.fromkeys(kinds)), "", current)


def _values(taken: Taken | None, before: str, beginning: str) -> Completions:
    """The values of an argument or a parameter."""
    if taken is None:
        return Completions([], [], before, beginning)
    values: Sequence[str] = taken.values
    if taken.type == "bool":
        values = ("yes", "no")
    elif taken.name == "os" and not values:
        values = _OPERATING_SYSTEMS
    kind = taken.of or _KINDS.get(taken.name) or (taken.name if taken.name in _SAME else "")
    if kind in (_FILE, _FOLDER):
        return Completions([before + path for path in _paths(beginning, kind)], [], before, beginning)
    kinds = [kind] if kind and kind != _NONE and not values else []
    return Completions([before + text for text in _that_begin(values, beginning)], kinds, before, beginning)


def _paths(beginning: str, kind: str) -> list[str]:
    """Paths that begin so, of folders with a slash; hidden ones only where their dot is typed."""
    folder, slash, start = beginning.rpartition("/")
    found = []
    try:
        with os.scandir(folder + slash or ".") as entries:
            for entry in islice(entries, _MAX_PATHS):
                is_hidden = entry.name.startswith(".") and not start
                if is_hidden or not entry.name.startswith(start) or not is_plain(entry.name):
                    continue
                if entry.is_dir():
                    found.append(f"{folder}{slash}{entry.name}/")
                elif kind == _FILE:
                    found.append(f"{folder}{slash}{entry.name}")
    except (OSError, ValueError):
        return []
    return sorted(found) if not folder or is_plain(folder) else []


def _parameter(name: str, declared: Sequence[Taken]) -> Taken | None:
    """What `name=` gives a value to."""
    if name in GENERAL_PARAMETERS:
        return Taken("param", name, GENERAL_PARAMETERS[name], True, False)
    return next((it for it in declared if it.name == name), None)


def _next(declared: Sequence[Taken], given: int) -> list[Taken]:
    """The arguments of which the next text may be one, after so many of them."""
    arguments = [it for it in declared if it.kind == "arg"]
    if any(it.repeat for it in arguments):
        return arguments[:1] if not given else arguments
    return arguments[given : given + 1]


def _length(texts: Sequence[str], trees: Sequence[str]) -> int:
    """How many of the texts, from the first, name a folder of commands."""
    length = 0
    for text in texts:
        if not is_command_word(text) or not any(
            os.path.isdir(os.path.join(tree, *texts[: length + 1])) for tree in trees
        ):
            break
        length += 1
    return length


def _children(command_path: Sequence[str], trees: Sequence[str]) -> list[str]:
    """The words that may follow a group or command."""
    names: set[str] = set()
    for tree in trees:
        try:
            names.update(filter(is_command_word, os.listdir(os.path.join(tree, *command_path))))
        except OSError:
            continue
    return sorted(name for name in names if is_plain(name) and folders_of((*command_path, name), trees))


def _declared(command_path: Sequence[str], trees: Sequence[str]) -> list[Taken]:
    """What a command takes, by the index or the text of its file; nothing for a group.

    No code of another tree runs while a person types.
    """

    def text_of(path: Sequence[str]) -> str:
        return docstring_of(path) if find_in_index(path) else _text_of(path, trees)

    if not command_path:
        return []
    ours = find_in_index(command_path)
    return ours.taken if ours else taken_in_text(_text_of(command_path, trees), text_of)


def _text_of(command_path: Sequence[str], trees: Sequence[str]) -> str:
    for tree in trees:
        try:
            with open(
                os.path.join(tree, *command_path, "__init__.py"), encoding="utf-8", errors="replace"
            ) as file:
                text = file.read(_MAX_BYTES)
                return text[max(text.find("\nclass Command"), 0) :]
        except OSError:
            continue
    return ""


def _that_begin(texts: Sequence[str], beginning: str) -> list[str]:
    return [text for text in texts if text.startswith(beginning)]
