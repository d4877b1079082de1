"""Tables of image storage, and the words that its commands have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.cluster.values import read_number
from rocks.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.actions.storage_listings import Listed
    from rocks.commands._framework.base import Command

LONGEST_WAIT_SECONDS = 30 * 24 * 3600


def show_table(command: Command, listed: Listed) -> None:
    """Print the rows that came, and tell who did not answer."""
    command.beginOutput()
    for host, rows in listed.rows.items():
        for row in rows:
            command.addOutput(host, row)
    command.endOutput(header=listed.header)
    command.endOutcomes(listed.failed, len(listed.rows) + len(listed.failed))


def hosts_named(command: Command, word: str) -> list[str]:
    """The hosts that the arguments mean, the last of which may be given as `word=HOST`."""
    remaining, last = command.fillPositionalArgs([word])
    return command.getSomeHostnames([*remaining, *([last] if last else [])])


def words_named(command: Command, names: Sequence[str]) -> list[str]:
    """The values of all these words; the first is a host's. UserError when one is missing, or there are more."""
    remaining, *values = command.fillPositionalArgs(names)
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise UserError(f"must supply {', '.join(names)}; {', '.join(missing)} missing")
    if remaining:
        raise UserError(
            f"must supply {', '.join(names)} and nothing else, not {len(remaining) + len(names)} words"
        )
    return [command.getOneHostname([values[0]]), *values[1:]]


def read_wait(command: Command, default_seconds: float) -> float:
    """The parameter `timeout`, in seconds."""
    (text,) = command.fillParams([("timeout", None)])
    return default_seconds if text is None else read_number("timeout", text, 1, LONGEST_WAIT_SECONDS)
