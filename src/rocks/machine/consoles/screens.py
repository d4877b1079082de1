"""Pictures of the screens of running machines, and the text of serial consoles made fit for a terminal."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, UserError
from rocks.core.files import write_file
from rocks.core.terminal import one_line
from rocks.fleet.wire.consoles import LARGEST_PICTURE_BYTES, PNG_BEGINNING, ScreenRequest
from rocks.machine.consoles.consoles import ask_running

if TYPE_CHECKING:
    from rocks.database.connection import Database

_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[ -/]{1,4}[0-~]|[0-Z\\-~])"
)
"""A control sequence of a terminal: of colours and the cursor, a title, a character set, or one letter."""


def take_picture(database: Database, name: str, file: Path | None) -> None:
    """Write a picture of the machine's screen, a PNG, to the file, or to standard output.

    The file is only root's: passwords may be on a screen. StateError when the machine does not run or has no screen,
    UserError for a terminal as standard output, HostError for a file that cannot be written.
    """
    if file is None and (sys.stdout is None or sys.stdout.isatty()):
        raise UserError(
            f"a picture is not for a terminal: rocks report host vm screen {name} file={name}.png"
        )
    place, answer = ask_running(database, name, ScreenRequest(name))
    database.end_reading()
    try:
        picture = base64.b64decode(answer.png, validate=True)
    except (binascii.Error, ValueError):
        picture = b""
    if not picture.startswith(PNG_BEGINNING) or len(picture) > LARGEST_PICTURE_BYTES:
        raise HostError(f"{place} has not sent a picture of the screen of {name}")
    if file is not None:
        write_file(file, picture)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()


def plain_line(line: str) -> str:
    """The text of a line that was meant for a terminal, without its control sequences; what is left is made visible."""
    return one_line(_SEQUENCE.sub("", line).replace("\r", "").expandtabs())
