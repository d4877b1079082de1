"""`make mutants N=200 SEED=1 INTO=PAGE`: the share of random mutants of the sources that the tests find (root).

It chooses at random a line of the sources, then an operator of mutmut that can change it, then one of its changes. The
tests that execute the line run first, then those that execute it without coverage. Two copies of the checkout are used
in parallel.
"""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from bench import page
from bench.mutants.changes import Change, changes
from bench.mutants.covered import Covered, cover
from bench.mutants.trial import CHECKOUT, NO_TEST, STATE, Copy, files
from rocks.core.errors import RocksError, ToolError, UserError
from rocks.core.process import run_checked

_WORKERS = 2
_MUTATED = ("src/rocks/", "src/nucleus/", "src/owners/", "src/comet/")
_VMS, _IMAGES = "tests/system/vms/", "tests/system/imgstorage/"
_EXECUTED_WITHOUT_COVERAGE = {
    "src/rocks/agent/": (_VMS,),
    "src/rocks/fleet/host/": (_VMS, _IMAGES),
    "src/rocks/fleet/wire/": (_VMS, _IMAGES),
    "src/rocks/machine/host/": (_VMS, _IMAGES),
    "src/rocks/network/": (_VMS,),
    "src/rocks/storage/": (_IMAGES,),
}
"""Code that hosts and NASes execute with their own Python, without coverage → the tests that start them."""


class Result(NamedTuple):
    """A mutant of a file: how many tests execute its line by coverage, and the first failure with it ('' for none)."""

    path: str
    change: Change
    covering: int
    failed: str

    def __str__(self) -> str:
        before, after = (" ".join(code.split()) for code in (self.change.before, self.change.after))
        change = f"{self.change.operator}: `{before[:60]}` → `{after[:60]}`".replace("|", "¦")
        return f"| {self.path.removeprefix('src/')} {self.change.line} | {change} | {self.covering} |"


def choose(seed: int) -> Iterator[tuple[str, Change]]:
    """(path, change), at most one for each line, in an order that depends on the seed and the sources only."""
    generator = random.Random(seed)
    paths = [path for path in files() if path.startswith(_MUTATED) and path.endswith(".py")]
    texts = {path: (CHECKOUT / path).read_text(encoding="utf-8") for path in paths}
    places = [(path, line) for path in paths for line in range(1, texts[path].count("\n") + 1)]
    generator.shuffle(places)
    for path, line in places:
        here = [change for change in changes(texts[path]) if change.line == line]
        if here:
            operator = generator.choice(sorted({change.operator for change in here}))
            yield path, generator.choice([change for change in here if change.operator == operator])


def judge(path: str, change: Change, covered: Covered, copy: Copy) -> Result:
    """Run the tests with the change applied; the copy is restored afterwards. ToolError when pytest itself fails."""
    place = copy.folder / path
    code = place.read_text(encoding="utf-8")
    tests = covered.tests_of(path, change.lines, change.is_imported)
    folders = tuple(
        folder
        for part, those in _EXECUTED_WITHOUT_COVERAGE.items()
        if path.startswith(part)
        for folder in those
    )
    rest = {name: seconds for name, seconds in covered.seconds.items() if name.startswith(folders)}
    rest = {name: seconds for name, seconds in rest.items() if name not in tests}
    place.write_text(change.code(), encoding="utf-8")
    try:
        failed = next((failed for part in (tests, rest) if part and (failed := copy.failing(part))), "")
    finally:
        place.write_text(code, encoding="utf-8")
    if failed == NO_TEST and copy.failing(tests or rest):
        raise ToolError(f"pytest fails in {copy.folder} even on unchanged sources; run it there to see why")
    return Result(path, change, len(tests), failed)


def measure(number: int, seed: int, selection: str) -> list[Result]:
    """Test this number of mutants; each result is printed to standard error as soon as it is known."""
    covered = cover(selection)
    copies: SimpleQueue[Copy] = SimpleQueue()
    for index in range(_WORKERS):
        copies.put(Copy(STATE / f"copy-{index}"))

    def work(mutant: tuple[str, Change]) -> Result:
        copy = copies.get()
        try:
            result = judge(*mutant, covered, copy)
        finally:
            copies.put(copy)
        print(result, result.failed or "NOT FOUND", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(work, islice(choose(seed), number)))


def format_results(title: str, results: Sequence[Result]) -> str:
    """The results as Markdown: the share found in each folder, then the mutants that no test found."""
    folders: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        folders["all"].append(result)
        folders["/".join(result.path.split("/")[1:3])].append(result)
    lines = [f"{title}.", "", "| folder | mutants | found |", "|---|---|---|"]
    for name, those in sorted(folders.items()):
        found = sum(1 for result in those if result.failed)
        lines.append(f"| {name} | {len(those)} | {found} ({100 * found / len(those):.0f} %) |")
    lines += ["", "| not found | change | tests that execute the line |", "|---|---|---|"]
    return "\n".join(lines + [str(result) for result in results if not result.failed])


def _whole(name: str, text: str, least: int) -> int:
    """The number that the operator gives. UserError for what is none, before hours are spent."""
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name} is {text!r}; it must be a whole number of at least {least}")
    return int(text)


def main(number: str, seed: str, selection: str, into: str = "") -> int:
    """Print the results as Markdown; with `into`, also write them to that page. Returns the exit status."""
    try:
        count, start = _whole("N", number, least=1), _whole("SEED", seed, least=0)
        if into:
            page.check_markers(Path(into))
        commit = run_checked(
            ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"], deadline_seconds=60
        )
        title = (
            f"{time.strftime('%d %B %Y')}, commit {commit.text.strip()}, seed {start}, tests `{selection}`"
        )
        text = format_results(title, measure(count, start, selection))
        print(text)
        if into:
            page.put(Path(into), text)
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
