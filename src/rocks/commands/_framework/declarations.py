"""What a command takes, as its docstring declares it: a check before anything is done.

Light: every command pays for this import, and `documentation`, which formats help, is heavier.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.commands._framework.arguments import FIRST_PARAMETER
from rocks.commands._framework.common_arguments import COMMON
from rocks.core.errors import BugError, UserError
from rocks.core.names import printable
from rocks.core.values import HIGHEST_NUMBER, UNITS, in_unit, read_number, yes_or_no

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rocks.commands._framework.arguments import ParsedArguments
    from rocks.commands._framework.base import Command

    TextOf = Callable[[Sequence[str]], str]
    """The words of a command → its docstring."""

ELEMENT = re.compile(
    r"<(arg|param|shared|example|related)\b((?:[^>'\"]|'[^']*'|\"[^\"]*\")*?)(?:/>|>(.*?)</\1>)", re.S
)
_COMMON = re.compile(r"<shared names='([^']*)'/>")
_DECLARING = ("arg", "param")
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\")")

GENERAL_PARAMETERS = {"json": "bool", "output-header": "bool", "output-col": "string"}
"""Parameters of every command, with their types."""


DRY_RUN = "dry-run"
"""The parameter of the commands that reach hosts: with yes they change nothing, and print what they would do."""

REACHES_NO_HOST = "it reaches no host, or its author has not declared dry-run"


class Taken(NamedTuple):
    """An argument or a parameter that a command declares, without its text."""

    kind: str
    name: str
    type: str
    optional: bool
    repeat: bool
    values: tuple[str, ...] = ()
    """The only values, where they are few."""
    of: str = ""
    """The kind of object it names, for completion, where its own name does not say it; "none" for no kind."""
    default: str = ""
    range: str = ""
    """`1..3600`: the least and the greatest number that are taken; `0..` has no greatest."""
    unit: str = ""


def attributes_of(text: str) -> dict[str, str]:
    """The attributes in an element's start tag."""
    return {name: single or double for name, single, double in _ATTRIBUTE.findall(text)}


def taken_by(command_class: type[Command]) -> list[Taken]:
    """The arguments and parameters that the docstring of a command declares."""
    return taken_in_text(command_class.__doc__ or "", docstring_of)


def taken_in_text(text: str, text_of: TextOf) -> list[Taken]:
    """The arguments and parameters that a docstring declares; `text_of` gives those of commands whose it shares."""
    return [
        taken(kind, attributes_of(text)) for kind, text, _ in elements(text, text_of) if kind in _DECLARING
    ]


def elements(text: str, text_of: TextOf) -> list[tuple[str, str, str]]:
    """(element, its attributes, its text) of a docstring.

    In place of `<shared command='add firewall' names='rulename,chain'/>` stand these arguments and parameters of that
    command, which must declare them itself; without `command`, those of `COMMON`. BugError for others.
    """
    resolved: list[tuple[str, str, str]] = []
    for kind, attributes, content in ELEMENT.findall(with_common(text)):
        if kind == "shared":
            resolved += _shared(attributes_of(attributes), text_of)
        else:
            resolved.append((kind, attributes, content))
    return resolved


def with_common(text: str) -> str:
    """A docstring with the elements of `COMMON` in place of `<shared names='hosts,dry-run'/>`; BugError for others."""

    def found(match: re.Match[str]) -> str:
        names = match[1].split(",")
        if missing := [name for name in names if name not in COMMON]:
            raise BugError(
                f"a command shares {', '.join(missing)}, which is no common argument; its author must fix it"
            )
        return "\n".join(COMMON[name] for name in names)

    return _COMMON.sub(found, text)


def _shared(attributes: Mapping[str, str], text_of: TextOf) -> list[tuple[str, str, str]]:
    """The elements that another command's docstring has by these names, in the order of the names."""
    other, names = attributes.get("command", ""), attributes.get("names", "").split(",")
    theirs = {
        attributes_of(one[1]).get("name"): one
        for one in ELEMENT.findall(with_common(text_of(other.split())))
        if one[0] in _DECLARING
    }
    missing = [name for name in names if name not in theirs]
    if missing:
        raise BugError(
            f'a command shares {", ".join(missing)} of the help of "{other}", which has no such argument or parameter; '
            "its author must fix it"
        )
    return [theirs[name] for name in names]


def docstring_of(command_path: Sequence[str]) -> str:
    """The docstring of a command, whose arguments and parameters others share."""
    from rocks.commands._framework.tree import load_package, tree_folders

    return load_package(command_path, tree_folders()).Command.__doc__ or ""


def taken(kind: str, attributes: Mapping[str, str]) -> Taken:
    """The declaration in an element: an argument is required and a parameter optional unless it states otherwise."""
    return Taken(
        kind,
        attributes.get("name", ""),
        attributes.get("type", "string"),
        attributes.get("optional", "1" if kind == "param" else "0") == "1",
        attributes.get("repeat", "0") == "1",
        tuple(filter(None, attributes.get("values", "").split(","))),
        attributes.get("of", ""),
        " ".join(attributes.get("default", "").split()),
        attributes.get("range", ""),
        attributes.get("unit", ""),
    )


def usage_of(declared: Sequence[Taken]) -> str:
    """`{host} ... [name=type]`: arguments as declared, parameters by name; braces mark what is required."""
    labels = [(it.name, it) for it in declared if it.kind == "arg"]
    parameters = sorted((it for it in declared if it.kind == "param"), key=lambda it: it.name)
    labels += [(f"{it.name}={it.type}", it) for it in parameters]
    return " ".join(bracketed(label, it.optional) + (" ..." if it.repeat else "") for label, it in labels)


def short_usage(command_class: type[Command]) -> str:
    """The usage with what is required, and `[NAME=VALUE] ...` for all else: a line."""
    declared = taken_by(command_class)
    required = usage_of([it for it in declared if it.kind == "arg" or not it.optional])
    has_more = any(it.kind == "param" and it.optional for it in declared)
    return " ".join(filter(None, (required, "[NAME=VALUE] ..." if has_more else "")))


def bracketed(label: str, optional: bool) -> str:
    """The label in brackets, or in the braces of what is required."""
    return f"[{label}]" if optional else f"{{{label}}}"


def default_number(command_class: type[Command], name: str) -> int:
    """The number that counts when the parameter is not given."""
    return int(next(it.default for it in taken_by(command_class) if it.kind == "param" and it.name == name))


def check_given(command: Command, given: ParsedArguments) -> None:
    """UserError unless the command declares every parameter, given once, and takes that many arguments.

    A parameter of type bool is yes or no, one with a range a number in it. Sizes with a unit of their own (4G) are
    replaced by numbers of the declared unit. An argument may be given by its name, unless it repeats.
    """
    arguments, parameters, repeated = given
    if repeated:
        raise UserError(f'the parameter "{printable(repeated[0])}" is given twice')
    named = [name for name in parameters if name != FIRST_PARAMETER]
    _check_booleans(GENERAL_PARAMETERS, parameters)
    if not arguments and all(name in GENERAL_PARAMETERS for name in named):
        return
    declared = taken_by(type(command))
    if not command.TakesAnyParameter:
        for name in named:
            _check_name(command, declared, name, len(arguments))
    _check_booleans({it.name: it.type for it in declared if it.kind == "param"}, parameters)
    for it in declared:
        if it.unit in UNITS and it.name in parameters:
            sizes = parameters[it.name].split()
            parameters[it.name] = " ".join(in_unit(it.name, size, it.unit) for size in sizes)
        if it.range and it.name in parameters:
            lowest, _, highest = it.range.partition("..")
            unit = "" if it.unit == "none" else it.unit
            read_number(it.name, parameters[it.name], int(lowest), int(highest or HIGHEST_NUMBER), unit)
    positional = [it for it in declared if it.kind == "arg"]
    if not any(it.repeat for it in positional):
        for index, (it, text) in enumerate(zip(positional, arguments, strict=False)):
            if it.unit in UNITS:
                arguments[index] = in_unit(it.name, text, it.unit)
    _check_count(command, declared, arguments, named)


def _check_booleans(types: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    for name, kind in types.items():
        if kind == "bool" and name in parameters:
            yes_or_no(name, parameters[name])


def _check_name(command: Command, declared: Sequence[Taken], name: str, count: int) -> None:
    """UserError for a parameter that the command does not declare; `count` arguments are given without a name."""
    found = [it for it in declared if it.name == name]
    if name in GENERAL_PARAMETERS or any(it.kind == "param" for it in found):
        return
    if found and (not found[0].repeat or name in command.repeatedByName()):
        return
    title = " ".join(command.command_path)
    if name == DRY_RUN:
        raise UserError(f'"{title}" cannot be tried: {command.NoDryRun or REACHES_NO_HOST}')
    if found:
        raise UserError(f'"{title}" takes the argument "{name}" without its name: write its value alone')
    raise UserError(f'"{title}" knows no parameter "{printable(name)}"{_advice(declared, name, count)}')


def _advice(declared: Sequence[Taken], name: str, count: int) -> str:
    """What was probably meant. The value is not printed: it may be a secret, and errors are logged."""
    from rocks.core.near_names import nearest

    names = (*GENERAL_PARAMETERS, *(it.name for it in declared if not (it.kind == "arg" and it.repeat)))
    near = nearest(name, names) or [other for other in names if name.lower() in other.split("-")]
    if near:
        return f"; did you mean {' or '.join(f'{other}=' for other in near)}?"
    positional = [it for it in declared if it.kind == "arg"]
    by_name = [it.name for it in positional if not it.repeat]
    if by_name and (count < len(positional) or any(it.repeat for it in positional)):
        return (
            f"; an argument that looks like one is given by its name, as in {by_name[-1]}={printable(name)}=…"
        )
    parameters = [it.name for it in declared if it.kind == "param"]
    return f"; it knows {', '.join(parameters)}" if parameters else ""


def _check_count(
    command: Command, declared: Sequence[Taken], arguments: Sequence[str], named: Iterable[str]
) -> None:
    """UserError for more arguments than the command takes. A required parameter may be given as an argument."""
    if any(it.repeat for it in declared if it.kind == "arg"):
        return
    given = set(named)
    places = [it.name for it in declared if (it.kind == "arg" or not it.optional) and it.name not in given]
    if len(arguments) <= len(places):
        return
    title, count = " ".join(command.command_path), len(arguments)
    takes = " ".join(f"{{{place}}}" for place in places) or "no argument"
    raise UserError(
        f'"{title}" takes {takes}, but {count} argument{"s are" if count > 1 else " is"} given; '
        f"{command.AdviceForTooMany}"
    )
