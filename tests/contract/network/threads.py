"""A network of the test's own: it belongs to one thread, which does all the work."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_NEW_NETWORK, _NEW_MOUNTS = 0x40000000, 0x00020000
Result = TypeVar("Result")


def leave_network() -> None:
    """Give the calling thread a network of its own, and mounts, for sysfs shows its network."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK | _NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


class OfThread:
    """The driver's steps, in the thread whose namespace it is."""

    def __init__(self, thread: ThreadPoolExecutor, driver: Any) -> None:
        self._thread, self._driver = thread, driver

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.run(lambda: getattr(self._driver, name)(*arguments))

    def run(self, work: Callable[[], Result]) -> Result:
        return self._thread.submit(work).result()
