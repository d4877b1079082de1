"""`python -m tests.lab.passes stale`: the modules whose key has no recorded pass; exit status 1 when there are any.

`python -m tests.lab.passes due`: what CI runs, as arguments of pytest: the core, then these, the long ones last.
"""

from __future__ import annotations

import sys

from tests.lab.passes import page
from tests.lab.passes.keys import CHECKOUT, FOLDER, content_key, modules

CORE = ("test_device_contracts.py", "test_image_storage.py", "test_isolation.py", "test_virtual_machines.py")
"""What each build runs: real devices, an image's life, isolation, machines."""


def main(arguments: list[str]) -> int:
    """Print what is asked for."""
    stale = page.stale({module: content_key(module) for module in modules()})
    if arguments == ["due"]:
        others = sorted({*stale} - {*CORE}, key=lambda module: ("/" in module, module))
        print(*((FOLDER / module).relative_to(CHECKOUT) for module in (*CORE, *others)))
        return 0
    if arguments == ["stale"]:
        print(*stale, sep="\n", end="\n" if stale else "")
        print(
            f"{len(stale)} of the lab's {len(modules())} modules have no recorded pass of their key",
            file=sys.stderr,
        )
        return 1 if stale else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
