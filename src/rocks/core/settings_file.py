"""Settings of the system: lines `key = value` without sections, read by `configparser`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECTION = "settings"


def read_settings_text(text: str, keys: Sequence[str], path: str) -> dict[str, str]:
    """Key → value of the lines of `path`, both without surrounding blanks; the last line of a key counts.

    A line that begins with `#` is a comment; `#` and `;` within a value are part of it. ValueError with the file and
    the line for a line that sets none of the keys.
    """
    from configparser import ConfigParser, ParsingError  # not needed where there is no file

    # an indented line would continue the value before it
    lines = [line.strip() for line in text.splitlines()]
    parser = ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), strict=False, interpolation=None, default_section=""
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign] # keys are case sensitive
    try:
        parser.read_string("\n".join((f"[{_SECTION}]", *lines)), path)
    except ParsingError as error:
        raise _wrong_line(lines, error.errors[0][0] - 1, keys, path) from None
    values = dict(parser[_SECTION])
    for number, line in enumerate(lines, 1):
        if line.startswith("[") or line.partition("=")[0].strip() in values.keys() - set(keys):
            raise _wrong_line(lines, number, keys, path)
    return values


def _wrong_line(lines: Sequence[str], number: int, keys: Sequence[str], path: str) -> ValueError:
    return ValueError(f"{path} line {number}: {lines[number - 1]!r} is not one of {', '.join(keys)} = value")
