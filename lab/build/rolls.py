"""The rolls of ISOs, and the packages that their graph gives a host: for `lab.build.iso_images`, run by the Python of
.state/venv, because rolls are read as the frontend reads them.

    python -m lab.build.rolls take FOLDER ISO…               extract and check all rolls; prints NAME,VERSION of each
    python -m lab.build.rolls packages FILE                  prints the packages of the document of nodes in FILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rocks.core.errors import RocksError, UserError
from rocks.core.process import run_checked
from rocks.install.graph.node_documents import read_documents
from rocks.install.graph.profile import package_names
from rocks.install.graph.tags import node_of
from rocks.install.rolls.content import RollId
from rocks.install.rolls.iso import extract_roll, find_rolls
from rocks.install.rolls.signatures import check_manifest

_DEADLINE_SECONDS = 600.0


def take_rolls(folder: Path, isos: Sequence[Path]) -> list[RollId]:
    """Extract each roll of the ISOs to FOLDER/NAME/VERSION/ARCH, every file compared with its manifest.

    UserError for an ISO that is damaged or has no roll, and for a roll that two of them have.
    """
    taken: list[RollId] = []
    for iso in [one for given in isos for one in _isos_with_rolls(given, folder)]:
        for roll in find_rolls(iso):
            place = folder.joinpath(*roll)
            if place.exists():
                raise UserError(f"two of the ISOs have the roll {roll}: give the lab one of them")
            place.parent.mkdir(parents=True, exist_ok=True)
            extract_roll(iso, roll, place)
            check_manifest(place, str(iso))
            taken.append(roll)
    return taken


def packages_of(document: Path) -> list[str]:
    """The deb packages of the nodes in a document of `rocks list node xml`, sorted."""
    nodes = read_documents(document.read_text(encoding="utf-8"), str(document), {}, None)
    return package_names([node_of(tree, nodes.context) for tree in nodes.trees], "deb")


def _isos_with_rolls(iso: Path, folder: Path) -> Iterator[Path]:
    """The ISO itself, or those in the folder `rolls` of a frontend's ISO."""
    try:
        find_rolls(iso)
        yield iso
        return
    except UserError:
        found = folder / "of-frontend"
        extract = ["xorriso", "-no_rc", "-osirrox", "on", "-indev", f"stdio:{iso}", "-extract", "/rolls"]
        try:
            run_checked([*extract, str(found)], deadline_seconds=_DEADLINE_SECONDS)
        except RocksError:
            pass  # neither: the first error says it
        if not list(found.glob("*.iso")):
            raise
    yield from sorted(found.glob("*.iso"))


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names; returns the exit status."""
    try:
        if arguments[0] == "take":
            rolls = take_rolls(Path(arguments[1]), [Path(name) for name in arguments[2:]])
            print("\n".join(f"{roll.name},{roll.version}" for roll in rolls))
        else:
            print("\n".join(packages_of(Path(arguments[1]))))
    except RocksError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
