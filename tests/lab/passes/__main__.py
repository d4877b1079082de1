"""`python -m tests.lab.passes stale` lists the modules whose key has no recorded pass.

The exit status is 1 if one of them is a module that CI runs. CI does not run those of tests/lab/long, which take hours.

`python -m tests.lab.passes due` prints pytest arguments for what CI runs: the core, then the stale modules; `core`
those of the core alone.
"""

import sys

from rocks.core.errors import RocksError
from tests.lab.passes import page
from tests.lab.passes.keys import CHECKOUT, FOLDER, content_key, modules

CORE = ("test_device_contracts.py", "test_image_storage.py", "test_isolation.py", "test_virtual_machines.py")
"""What every CI build runs: device contracts, an image's life, isolation, virtual machines."""


def is_long(module: str) -> bool:
    """Whether the module is one of those that take minutes each, which CI has no time for."""
    return module.startswith("long/")


def main(arguments: list[str]) -> int:
    """Print what the argument names; returns the exit status."""
    stale = page.stale({module: content_key(module) for module in modules()})
    if arguments in (["due"], ["core"]):
        is_due = arguments == ["due"]
        others = [module for module in stale if is_due and module not in CORE and not is_long(module)]
        print(*((FOLDER / module).relative_to(CHECKOUT) for module in (*CORE, *others)))
        return 0
    if arguments == ["stale"]:
        print(*stale, sep="\n", end="\n" if stale else "")
        print(
            f"{len(stale)} of the lab's {len(modules())} modules have no recorded pass for their current files",
            file=sys.stderr,
        )
        return 0 if all(map(is_long, stale)) else 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RocksError as error:
        sys.exit(f"Error: {error}")
