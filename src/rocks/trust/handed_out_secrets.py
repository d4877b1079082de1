"""Records of hosts that got their secrets for an installation: files below the state folder of the frontend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError
from rocks.core.files import remove_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.settings import Settings

_FOLDER, _SENT = "handed-out", "sent-secrets"
TO_SYNC = "to-sync"
"""Folder of the state with a file for each configured host whose accounts and secrets are still to be sent."""


def record_handed_out(settings: Settings, name: str) -> None:
    """Record that the host gets its secrets now. StateError when that is recorded already; of two at once, one gets it.

    HostError when the record cannot be written.
    """
    if not _record(settings, _FOLDER, name):
        raise StateError(
            f"the secrets of host {name} were handed out before; on the frontend: "
            f"rocks set host boot {name} action=install"
        )


def begin_sending(settings: Settings, name: str) -> bool:
    """False when the host's secrets were sent since its installation began. Otherwise records them as handed
    out, and returns True.

    HostError when that record cannot be written.
    """
    if (Path(settings.state_folder) / _SENT / name.lower()).exists():
        return False
    _record(settings, _FOLDER, name)
    return True


def record_sent(settings: Settings, name: str) -> None:
    """Record that the host has got what `begin_sending` began, unless it is to be installed again meanwhile.

    HostError when the record cannot be written.
    """
    # `forget_handed_out` may have come between
    if (Path(settings.state_folder) / _FOLDER / name.lower()).exists():
        _record(settings, _SENT, name)


def _record(settings: Settings, place: str, name: str) -> bool:
    folder = Path(settings.state_folder) / place
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(folder / name.lower(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise HostError(
            f"cannot record that the secrets of {name} are handed out: {error.strerror}"
        ) from None
    return True


def forget_handed_out(settings: Settings, names: Sequence[str]) -> None:
    """Let these hosts get their secrets once more. HostError when a record cannot be removed."""
    for name in names:
        try:
            for place in (_FOLDER, _SENT, TO_SYNC):
                remove_file(Path(settings.state_folder) / place / name.lower())
        except OSError as error:
            raise HostError(f"the record of secrets of {name} cannot be removed: {error.strerror}") from None
