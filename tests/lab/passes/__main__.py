"""`python -m tests.lab.passes stale`: the modules whose key has no recorded pass.

Exit status 1 when one is among them that CI runs: those of tests/lab/long take hours, and are run by hand.

`python -m tests.lab.passes due`: what CI runs, as arguments of pytest: the core, then these, without the long ones.
"""

from __future__ import annotations

import sys

from tests.lab.passes import page
from tests.lab.passes.keys import CHECKOUT, FOLDER, content_key, modules

CORE = ("test_device_contracts.py", "test_image_storage.py", "test_isolation.py", "test_virtual_machines.py")
"""What each build runs: real devices, an image's life, isolation, machines."""


def is_long(module: str) -> bool:
    """Whether the module is one of those that take minutes each, which CI has no time for."""
    return module.startswith("long/")


def main(arguments: list[str]) -> int:
    """Print what is asked for."""
    stale = page.stale({module: content_key(module) for module in modules()})
    if arguments == ["due"]:
        others = [module for module in stale if module not in CORE and not is_long(module)]
        print(*((FOLDER / module).relative_to(CHECKOUT) for module in (*CORE, *others)))
        return 0
    if arguments == ["stale"]:
        print(*stale, sep="\n", end="\n" if stale else "")
        print(
            f"{len(stale)} of the lab's {len(modules())} modules have no recorded pass of their key",
            file=sys.stderr,
        )
        return 0 if all(map(is_long, stale)) else 1
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
