"""Splits a command line into arguments and parameters, and reads their values.

Yes or no is one of `on yes y true 1 off no n false 0`, in any case; anything else is an error. In Rocks,
every other value is a no, so `force=ture` was one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, overload

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import TRUE_VALUES, yes_or_no

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIRST_PARAMETER = "@ROCKSPARAM0"
"""Key under which the raw text of the first parameter is stored; firewall commands read a category from it."""

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-")


class ParsedArguments(NamedTuple):
    """A command's arguments in order, its parameters by name, and the names that are given twice."""

    arguments: list[str]
    parameters: dict[str, str]
    repeated: list[str]


def parse_arguments(texts: list[str]) -> ParsedArguments:
    """Split the texts that follow a command's name into arguments and parameters.

    `name=value` with a name of letters, digits, `_`, `+` and `-` is a parameter. A text such as `select …
    where rack=0` is an argument although it contains `=`: no name contains a blank.
    """
    arguments: list[str] = []
    parameters: dict[str, str] = {}
    repeated: list[str] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not _NAME_CHARACTERS.issuperset(name):
            arguments.append(text)
            continue
        if name in parameters:
            repeated.append(name)
        parameters.setdefault(FIRST_PARAMETER, text)
        parameters[name] = value
    return ParsedArguments(arguments, parameters, repeated)


def str2bool(text: str | None) -> bool:
    """True for on, yes, y, true and 1 in any case; False for any other text."""
    return text is not None and text.lower() in TRUE_VALUES


def besides(from_end: Sequence[str]) -> str:
    """For an error about a missing value: the arguments that were read as others, which come last."""
    return f", besides {' and '.join(from_end)}" if from_end else ""


def bool2str(value: object) -> str:
    """`yes` or `no`."""
    return "yes" if value else "no"


class ArgumentValues:
    """Reads the values of arguments and parameters. A mix-in of `Command`."""

    _arguments: list[str]
    _parameters: dict[str, str]
    from_end: tuple[str, ...] = ()
    """What `splitArguments` took from the end of the arguments, as `iface "eth0"`."""

    def splitArguments(self, names: Sequence[str]) -> tuple[list[str], list[str | None]]:
        """(remaining arguments, the values of `names`); a missing value is None.

        A value given as a non-empty parameter is taken from there; the others are taken from the end of the
        arguments, right to left, so that the leading arguments may repeat.
        """
        remaining = list(self._arguments)
        values: list[str | None] = []
        from_end: list[str] = []
        for name in reversed(names):
            if self._parameters.get(name):
                values.append(self._parameters[name])
            else:
                values.append(remaining.pop() if remaining else None)
                if values[-1]:
                    from_end.append(f'{name} "{printable(values[-1])}"')
        self.from_end = tuple(from_end[::-1])
        return remaining, values[::-1]

    def fillArgument(self, name: str) -> tuple[list[str], str | None]:
        """(remaining arguments, the value of `name`), as `splitArguments` for one value."""
        remaining, (value,) = self.splitArguments((name,))
        return remaining, value

    def requireArguments(self, *names: str) -> tuple[list[str], list[str]]:
        """(remaining arguments, the values of `names`); UserError for the first that is missing or empty."""
        remaining, values = self.splitArguments(names)
        for name, value in zip(names, values, strict=True):
            if not value:
                raise UserError(f"must supply {name}{besides(self.from_end)}")
        return remaining, [value for value in values if value]

    @overload
    def fillText(self, name: str, default: str) -> str: ...

    @overload
    def fillText(self, name: str, default: None = None) -> str | None: ...

    def fillText(self, name: str, default: str | None = None) -> str | None:
        """The value of the parameter `name`, or the default."""
        return self._parameters.get(name, default)

    def fillTexts(self, *names: str) -> list[str | None]:
        """The values of these parameters; None for those that are not given."""
        return [self._parameters.get(name) for name in names]

    def fillPositionalArgs(self, names: str | Sequence[str]) -> list[Any]:
        """`[remaining arguments, value, …]`: Rocks' name of `splitArguments`, for commands of other rolls."""
        remaining, values = self.splitArguments((names,) if isinstance(names, str) else names)
        return [remaining, *values]

    def fillParams(self, names: str | Iterable[str | tuple[Any, ...]]) -> list[Any]:
        """The values of the named parameters, or their defaults: Rocks' name, for commands of other rolls.

        A name alone, or in a tuple of one, has the default None.
        """
        each = (names,) if isinstance(names, str) else names
        return [self._parameters.get(*((one,) if isinstance(one, str) else one)) for one in each]

    def fillNumber(self, name: str) -> int:
        """The parameter `name`, whose declaration has a range, or its declared default."""
        from rocks.commands._framework.declarations import default_number

        given = self.fillGivenNumber(name)
        return default_number(type(self), name) if given is None else given  # type: ignore[arg-type]

    def fillGivenNumber(self, name: str) -> int | None:
        """The parameter `name`, whose declaration has a range; None if it is not given."""
        return int(self._parameters[name]) if name in self._parameters else None

    def fillFlag(self, name: str, default: bool = False) -> bool:
        """A parameter that is yes or no; UserError for anything else."""
        return yes_or_no(name, self._parameters[name]) if name in self._parameters else default

    def str2bool(self, text: str | None) -> bool:
        """The function `str2bool`, under Rocks' name."""
        return str2bool(text)

    def bool2str(self, value: object) -> str:
        """The function `bool2str`, under Rocks' name."""
        return bool2str(value)
