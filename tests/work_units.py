"""Which tests share a worker, and in which order the workers take them (`pytest -n 5`).

A unit is the tests that one worker runs in their order: those of a module, or those of several modules that share a
costly fixture of the session, such as a message broker, or that make devices of the same names: the workers of a run
are in one network namespace. The long units come first, so that no worker is left alone with one at the end.

A scheduler of ours, not `--dist loadgroup`: that is without effect in pytest 9.2 (pytest-xdist 3.8 sets an attribute of
items that pytest does not read any more).
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.smoke_tests import is_slow

_STORAGE = "tests/system/imgstorage/test_"
_SMOKE_UNITS = {"tests/system/vms/": "smoke-vms", "tests/system/imgstorage/": "smoke-images"}
"""Folder → the unit of its smoke tests: `make test` starts the site of machines once, and the broker."""

_LONG_UNITS: dict[str, tuple[str, ...]] = {
    "vms": tuple(f"tests/system/vms/test_{name}" for name in ("lease", "late", "restore")),
    "moved-vms": tuple(f"tests/system/vms/test_{name}" for name in ("moves", "drains")),
    "saved-vms": tuple(f"tests/system/vms/test_{name}" for name in ("saves", "seeds", "snapshots")),
    "more-vms": ("tests/system/vms/",),
    "storage-commands": (f"{_STORAGE}storage_",),
    "storage-bus": (f"{_STORAGE}broker_", f"{_STORAGE}bus", f"{_STORAGE}sync_broker"),
    "storage-images": ("tests/system/imgstorage/",),
    "contract": ("tests/contract/",),
    "demo": ("tests/system/lab/test_demo",),
    "every-command": ("tests/system/lab/test_every_command",),
    "killed-runs": ("tests/system/lab/test_killed_runs",),
    "site": ("tests/system/lab/test_site",),
    "fabric": ("tests/system/commands/vms/test_ib_fabric",),
    "network-private": (
        *(
            f"tests/system/commands/hosts/test_{one}"
            for one in ("boot_service", "discovery", "distribution_service", "installation_service")
        ),
        "tests/system/commands/site/test_dns",
        "tests/system/firewall/test_sync",
    ),
}
"""Unit → beginnings of its modules' paths: the longest unit first, the first that fits counts."""

_LAST = "tests/unit/"
"""Short tests, which fill up the workers' time at the end."""


class UnitScheduling(LoadScopeScheduling):
    """Gives each worker whole units, in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(node_id: str) -> str:
    """The unit of a test, by its node id."""
    for folder, unit in _SMOKE_UNITS.items():
        if node_id.startswith(folder) and not is_slow(node_id):
            return unit
    path = node_id.partition("::")[0]
    for unit, beginnings in _LONG_UNITS.items():
        if path.startswith(beginnings):
            return unit
    return path


def arrange(items: list[pytest.Item]) -> None:
    """Sort all tests in place: long units, other units, unit tests. The order within a unit stays."""
    order = [*_LONG_UNITS, *_SMOKE_UNITS.values()]

    def rank(item: pytest.Item) -> tuple[int, str]:
        unit = unit_of(item.nodeid)
        return (order.index(unit) if unit in order else len(order) + unit.startswith(_LAST), unit)

    items.sort(key=rank)
