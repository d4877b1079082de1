"""The cluster database when its settings cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from rocks.database.connection import Database
from rocks.database.settings import Settings

if TYPE_CHECKING:
    from rocks.core.errors import RocksError


class UnconfiguredDatabase(Database):
    """Raises the error of the settings at the first use; a command that needs no database works."""

    def __init__(self, why: RocksError) -> None:
        super().__init__(Settings(None, "", 0, "", "", ""))
        self._why = why

    @property
    def settings(self) -> Settings:
        """Raises the error of the settings."""
        raise self._why

    @settings.setter
    def settings(self, settings: Settings) -> None:
        pass

    def _connect(self) -> NoReturn:
        raise self._why
