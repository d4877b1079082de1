"""Progress on the terminal: the current step, and the duration of each finished step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Prints a line when a step ends and remembers its time for a table at the end."""

    def __init__(self, print_line: Callable[[str], None] = print) -> None:
        self.print = print_line
        self.steps: list[tuple[str, float]] = []
        self._begin = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that takes a moment. When it fails, its name is printed before the error travels on."""
        begin = time.monotonic()
        try:
            yield
        except BaseException:
            self.print(f"  {name}: failed after {time.monotonic() - begin:.1f} s")
            raise
        seconds = time.monotonic() - begin
        self.steps.append((name, seconds))
        self.print(f"  {name}: {seconds:.1f} s")

    def record(self, name: str, seconds: float) -> None:
        """Remember a step that shows itself."""
        self.steps.append((name, seconds))

    def table(self) -> str:
        """Every step with its time, and the whole."""
        rows = [*self.steps, ("all", time.monotonic() - self._begin)]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:{width}}  {seconds:6.1f} s" for name, seconds in rows)
