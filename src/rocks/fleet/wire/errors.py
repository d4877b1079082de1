"""An error on its way from a host to the frontend."""

from __future__ import annotations

import re

from rocks.core.dataclasses import dataclass
from rocks.core.errors import CLASSES, IncoherentError, RocksError, code_of, received_error

_OF_THE_HOST = frozenset(("host", "tool", "incoherent", "bug"))


@dataclass(frozen=True)
class AgentError:
    """An error as the wire transports it: family (`core.errors.FAMILIES`), message, and code, empty without one."""

    family: str
    message: str
    code: str = ""


def as_agent_error(error: RocksError) -> AgentError:
    """The error in the form of the wire; `as_exception` is the inverse."""
    # a file name that is not UTF-8 has lone surrogates, which the other side would not accept
    text = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    return AgentError(error.family, text, code_of(error))


def as_exception(error: AgentError) -> RocksError:
    """The exception of a received error; IncoherentError for an unknown family."""
    if error.family not in CLASSES:
        return IncoherentError(
            f"field error.family: {error.family[:40]!r} is unknown; message: {error.message}"
        )
    return received_error(error.family, error.message, error.code)


def at_host(name: str, error: RocksError) -> RocksError:
    """The error with the name of its host, unless its text has it, where the fault is the host's or of `this host`."""
    is_of_host = error.family in _OF_THE_HOST or "this host" in str(error)
    if not is_of_host or re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", str(error)):
        return error
    return type(error)(f"host {name}: {error}", code=error.code)
