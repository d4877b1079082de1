"""A reservation of two sites at once: this one, and one that is reached by a real SSH server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.machines.site import MachineSite
from tests.system.nucleus.conftest import nucleus_settings, pool, sql, worker_schema
from tests.system.nucleus.test_remote_sites import far
from tests.system.pragma.test_life import nothing_is_left
from tests.system.pragma.test_reservations import Process, process, ssh

__all__ = ["far", "nucleus_settings", "pool", "process", "ssh", "worker_schema"]


@pytest.mark.slow
@pytest.mark.parametrize("is_broken", [False, True])
def test_two_sites_from_begin_to_end(
    far: Path, process: Process, machines: MachineSite, ssh: Callable[[bytes], None], is_broken: bool
) -> None:
    """Scenario 18, but for mail and a site with a Nucleus of its own. The broken one fails in its start."""
    here = process.reserve(20)
    away = process.reserve(20, address="root@127.0.0.1")
    process.turn()
    assert process.states() == ["waiting", "waiting"] and not (far / "calls").exists()
    if is_broken:
        fails = '#!/bin/sh\necho "$*" >>calls\n[ "$1" = boot ] && exit 1\nexit 0\n'
        (far / "pragma").write_text(fails)
    process.hands.ahead_seconds = 61
    process.until("running", here)
    process.until("failed" if is_broken else "running", away)
    assert process.states(here) == ["running"]
    process.hands.ahead_seconds = 60 + 10 * 60 + 5
    process.until("stopped", here)
    process.until("failed" if is_broken else "stopped", away)
    nothing_is_left(machines)
    assert not (far / "booted").exists() and not list(far.glob(".nucleus-*.pub"))
    reasons = [one for (one,) in sql(process.pool, "SELECT reason FROM reservation_interval ORDER BY id")]
    assert reasons[0] is None and (reasons[1] is not None) == is_broken, reasons
