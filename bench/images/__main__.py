"""`python -m bench.images RESULT [FIGURE…]`: measure in the lab, inside its network; started by `make bench`.

What is found is written to the file RESULT figure by figure, so that nothing measured is lost when a later one hangs.
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
from lab.progress import Progress
from rocks.errors import RocksError, ToolError

_SET_UP_SECONDS = 420


def main(words: Sequence[str]) -> int:
    """Measure what is asked for, all of it by default; returns the exit status."""
    if not words:
        print("usage: python -m bench.images RESULT [FIGURE…], inside the lab's network", file=sys.stderr)
        return 1
    result, chosen = Path(words[0]), set(words[1:])
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    wanted = [figure for figure in FIGURES if not chosen or figure.numbers & chosen]
    try:
        lab = open_lab()
        site = ImageSite(lab, Frontend(lab.folder, lab.keys / KEY_FILE))
        site.frontend.start()
        try:
            _measure_all(site, wanted, result, progress)
        finally:
            with progress.step("the lab in its clean state"):
                site.leave()
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _measure_all(site: ImageSite, wanted: Sequence[Figure], result: Path, progress: Progress) -> None:
    is_ready = False
    with result.open("a", encoding="utf-8") as file:
        for figure in wanted:
            try:
                if not is_ready:
                    _set_up(site, progress)
                    is_ready = True
                found = _measure(site, figure, progress)
            except (RocksError, OSError, ArithmeticError, LookupError, ValueError, AssertionError) as error:
                is_ready = False  # nobody knows in which state it is: the next figure begins anew
                why = str(error) if isinstance(error, RocksError) else f"{type(error).__name__}: {error}"
                progress.print(f"  {why}")
                found = Found([not_measured(number, what, why) for number, what in figure.rows])
            file.write(json.dumps(found._asdict()) + "\n")
            file.flush()


def _set_up(site: ImageSite, progress: Progress) -> None:
    """Twice at most: what an earlier run left may be in the way once."""
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
    """ToolError inside when it takes longer; whatever is waited for."""

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
