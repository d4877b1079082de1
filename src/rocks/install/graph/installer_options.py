"""The options in a line of `main`, for an installer that has only some of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

    from rocks.install.graph.records import Directive


class Options(NamedTuple):
    """The options of a line and its other arguments."""

    directive: Directive
    given: Mapping[str, str]
    arguments: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether an option is given."""
        return name in self.given

    def get(self, name: str) -> str:
        """The value of an option, or ''."""
        return self.given.get(name, "")

    def required(self, name: str) -> str:
        """The value of an option; StateError when it is not given."""
        if not self.get(name):
            raise StateError(f"{self.directive.place}: <{self.directive.tag}> needs {name}=")
        return self.get(name)

    def one_word(self, pattern: re.Pattern[str]) -> str:
        """The only word besides the options. StateError when there are none or several, or it does not match."""
        if len(self.arguments) != 1 or not pattern.fullmatch(self.arguments[0]):
            raise StateError(
                f"{self.directive.place}: <{self.directive.tag}> needs exactly one value besides its options"
            )
        return self.arguments[0]


def read_options(directive: Directive, flags: str, valued: str) -> Options:
    """The options of a line, of which `flags` have no value and `valued` have one. StateError for others."""
    try:
        texts = shlex.split(directive.text, comments=True)
    except ValueError:
        raise StateError(f"{directive.place}: the text of <{directive.tag}> has an open quote") from None
    given: dict[str, str] = {}
    arguments: list[str] = []
    waiting = iter(texts)
    for text in waiting:
        name, equals, value = text.partition("=")
        if not name.startswith("--"):
            arguments.append(text)
        elif name in flags.split() and not equals:
            given[name] = ""
        elif name in valued.split():
            given[name] = value if equals else next(waiting, "")
        else:
            raise no_counterpart(directive, f"{name} of {directive.tag}")
    for text in (*given.values(), *arguments):
        if not text.isprintable() or text.endswith("\\"):
            raise StateError(f"{directive.place}: {text!r} cannot be an answer for Debian's installer")
    return Options(directive, given, tuple(arguments))


def no_counterpart(directive: Directive, what: str) -> StateError:
    """The error for a line that another installer has, and Debian's has not."""
    return StateError(
        f"{directive.place}: Debian's installer has nothing for {what}; limit the tag <{directive.tag}> with "
        "cond=\"packaging == 'rpm'\", or remove it"
    )
