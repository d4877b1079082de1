"""An error on its way from a host to the frontend."""

from __future__ import annotations

from dataclasses import dataclass

from rocks.errors import CLASSES, IncoherentError, RocksError, received_error


@dataclass(frozen=True)
class AgentError:
    """An error as the wire transports it: family (`rocks.errors.FAMILIES`), message, and code, empty without one."""

    family: str
    message: str
    code: str = ""


def as_agent_error(error: RocksError) -> AgentError:
    """The error in the form of the wire; `as_exception` is the inverse."""
    return AgentError(error.family, str(error), "" if error.code is None else error.code.value)


def as_exception(error: AgentError) -> RocksError:
    """The exception of a received error; IncoherentError for an unknown family."""
    if error.family not in CLASSES:
        return IncoherentError(
            f"field error.family: {error.family[:40]!r} is unknown; message: {error.message}"
        )
    return received_error(error.family, error.message, error.code)
