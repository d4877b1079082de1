"""The notes of libvirt's hook: which machines have ended on this host, until they are reported to the frontend.

A note is a file with the machine's name. One whose name begins with a dot is incomplete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from rocks.core.errors import HostError
from rocks.core.files import explain
from rocks.fleet.host.state_folder import Place


def noted_ends(state_folder: Path) -> Optional[Tuple[str, ...]]:
    """The machines' names, sorted. None without the folder: nobody reads notes, so the hook writes none. HostError."""
    folder = Place.ENDED.below(state_folder)
    try:
        return tuple(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"the notes in {folder} cannot be read: {explain(error, folder)}") from None
