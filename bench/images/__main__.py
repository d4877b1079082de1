"""`python -m bench.images RESULT [FIGURE…]`: measure in the lab, inside its network; started by `make bench`.

Results are written to the file RESULT figure by figure, so that none is lost when a later one hangs.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.images.figures import FIGURES, Figure
from bench.images.site import ImageSite
from bench.table import Found, not_measured
from lab.machines.checkout import open_lab
from lab.machines.frontend import Frontend
from lab.machines.login import KEY_FILE
from lab.machines.profile import ensure_profiles
from lab.progress import Progress
from rocks.core.errors import RocksError, ToolError

_SET_UP_SECONDS = 420


def main(arguments: Sequence[str]) -> int:
    """Measure the given figures, all by default; returns the exit status."""
    if not arguments:
        print("usage: python -m bench.images RESULT [FIGURE…], inside the lab's network", file=sys.stderr)
        return 1
    result, chosen = Path(arguments[0]), set(arguments[1:])
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    figures = [figure for figure in FIGURES if not chosen or figure.numbers & chosen]
    try:
        lab = open_lab()
        site = ImageSite(lab, Frontend(lab.folder, lab.keys / KEY_FILE))
        site.frontend.start()
        ensure_profiles(lab, site.frontend, progress)
        try:
            _measure_all(site, figures, result, progress)
        finally:
            with progress.step("the lab in its clean state"):
                site.leave()
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _measure_all(site: ImageSite, figures: Sequence[Figure], result: Path, progress: Progress) -> None:
    is_ready = False
    with result.open("a", encoding="utf-8") as file:
        for figure in figures:
            try:
                if not is_ready:
                    _set_up(site, progress)
                    is_ready = True
                found = _measure(site, figure, progress)
            except (RocksError, OSError, ArithmeticError, LookupError, ValueError, AssertionError) as error:
                is_ready = False  # its state is unknown: the next figure sets it up again
                why = str(error) if isinstance(error, RocksError) else f"{type(error).__name__}: {error}"
                progress.print(f"  {why}")
                found = Found([not_measured(number, what, why) for number, what in figure.rows])
            file.write(json.dumps(found._asdict()) + "\n")
            file.flush()


def _set_up(site: ImageSite, progress: Progress) -> None:
    """Try at most twice: the rest of an earlier run may fail the first attempt."""
    for is_last in (False, True):
        try:
            with progress.step("the lab's site, with image storage"), _deadline(_SET_UP_SECONDS):
                site.set_up(progress)
                return
        except RocksError as error:
            if is_last:
                raise
            progress.print(f"  {error}; once more")


def _measure(site: ImageSite, figure: Figure, progress: Progress) -> Found:
    names = " and ".join(sorted(figure.numbers))
    with progress.step(f"{names}: {figure.rows[0][1]}"), _deadline(figure.deadline_seconds):
        return figure.measure(site)


@contextmanager
def _deadline(seconds: int) -> Iterator[None]:
    """Raise ToolError inside at the deadline."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise ToolError(f"it was not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    begin = time.monotonic()
    status = main(sys.argv[1:])
    print(f"image storage: measured in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    sys.exit(status)
