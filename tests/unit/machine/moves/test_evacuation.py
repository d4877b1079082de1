"""`rocks evacuate host … must-fence=yes`: nothing is fenced for machines that could not be started."""

from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.machine.leases.fence_command import Force
from rocks.machine.moves import evacuation


def test_no_host_is_fenced_while_a_restored_database_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older copy does not know what the host runs, and no machine starts before all hosts have been asked."""

    def refuse(*_: object) -> None:
        raise StateError("nothing is started yet")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a machine was taken")

    database: Any = None
    monkeypatch.setattr(evacuation, "check_physical", lambda *_: None)
    monkeypatch.setattr(evacuation, "ensure_epoch", refuse)
    for name in ("stop_machines", "open_fleet"):
        monkeypatch.setattr(evacuation, name, never)
    with pytest.raises(StateError, match="nothing is started yet"):
        evacuation.evacuate_host(database, "vmh1", ("vmh2",), Force("it is silent", must_fence=True), never)  # type: ignore[arg-type]
