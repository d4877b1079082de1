"""An error on its way from a host to the frontend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AgentError:
    """An error as it crosses the border: its family (`rocks.errors.FAMILIES`) and its sentence."""

    family: str
    message: str
