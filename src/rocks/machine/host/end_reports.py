"""Reports to the frontend which machines have ended, from the notes of libvirt's hook.

The frontend asks this host before it believes it, so a note is no more than a hint (decision 72).
"""

from __future__ import annotations

import errno
import http.client
import random
import ssl
from pathlib import Path
from typing import Dict, List, Tuple

from rocks.core.errors import HostError, UserError
from rocks.core.files import explain
from rocks.core.settings_file import read_settings_text
from rocks.fleet.host.state_folder import Place
from rocks.fleet.wire.end_reports import ENDED_PATH, MAX_NAMES

SETTINGS_FOLDER = Path("/etc/rocks")
_NETWORK_FOLDER = Path("/sys/class/net")
_SETTINGS, _AUTHORITY = "frontend.conf", "site-authority.pem"
_DEADLINE_SECONDS = 60.0
_PORTS_OF_ROOT = (512, 1023)
_TRIES = 20
_MAX_DEVICES = 16
_LONGEST_ANSWER_BYTES = 65536


def report_ends(
    state_folder: Path, settings_folder: Path = SETTINGS_FOLDER, network_folder: Path = _NETWORK_FOLDER
) -> List[str]:
    """Report the notes to the frontend and remove them; returns lines for the journal.

    A frontend that refuses them for good gets them no second time. HostError when it cannot be reached, or has to be
    asked again: the notes stay. UserError for settings that cannot be read.
    """
    folder = Place.ENDED.below(state_folder)
    notes = _read_notes(state_folder)
    if not notes:
        return []
    server = _server(settings_folder)
    body = "".join(f"{name}\n" for name in notes)
    status, text = _post(server, settings_folder / _AUTHORITY, body, _headers(network_folder))
    if status >= 500:
        raise HostError(f"the frontend {server[0]} takes no report of ended machines: {text}")
    for name, content in notes.items():
        _remove(folder / name, content)
    if status != 200:
        return [f"the frontend {server[0]} refuses the report of ended machines: {text}"]
    return [f"{line} has ended, and its lease is released" for line in text.splitlines()]


def _read_notes(state_folder: Path) -> Dict[str, str]:
    """Name → content of at most `MAX_NAMES` notes. One whose name begins with a dot is incomplete.

    Others each time, where there are more: one that the frontend cannot settle hides none for ever.
    """
    folder = Place.ENDED.below(state_folder)
    if not folder.is_dir():
        return {}
    try:
        names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        random.shuffle(names)
        return {name: (folder / name).read_text("utf-8", "replace") for name in names[:MAX_NAMES]}
    except OSError as error:
        raise HostError(f"the notes in {folder} cannot be read: {explain(error, folder)}") from None


def _server(folder: Path) -> Tuple[str, int]:
    """Address and port of the frontend."""
    path = folder / _SETTINGS
    try:
        text = read_settings_text(path.read_text("utf-8"), ("server",), str(path)).get("server", "")
    except (OSError, ValueError) as error:
        raise UserError(
            f"the frontend's address is not known: {error}; on the frontend: rocks sync host profile HOST writes it"
        ) from None
    address, _, port = text.partition(":")
    if not address or (port and not port.isdigit()):
        raise UserError(f"{path} must have a line server = ADDRESS")
    return address, int(port or 443)


def _headers(network_folder: Path) -> Dict[str, str]:
    """The MAC addresses of this host, as an installer states them: a frontend behind a router does not see them."""
    found: Dict[str, str] = {}
    for path in sorted(network_folder.glob("*/address"))[:_MAX_DEVICES]:
        try:
            address = path.read_text("ascii").strip()
        except (OSError, ValueError):
            continue  # the device is gone
        found[f"X-RHN-Provisioning-MAC-{len(found)}"] = f"{path.parent.name} {address}"
    return found


def _post(server: Tuple[str, int], authority: Path, body: str, headers: Dict[str, str]) -> Tuple[int, str]:
    """Status and text of the answer, from a port that only root has. HostError when there is none."""
    try:
        context = ssl.create_default_context(cafile=str(authority))
        for _ in range(_TRIES):
            source = ("", random.randint(*_PORTS_OF_ROOT))  # noqa: S311 - any free port
            connection = http.client.HTTPSConnection(
                *server, timeout=_DEADLINE_SECONDS, source_address=source, context=context
            )
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    continue
                raise
            try:
                connection.request("POST", ENDED_PATH, body.encode(), headers)
                answer = connection.getresponse()
                text = answer.read(_LONGEST_ANSWER_BYTES).decode("utf-8", "replace").strip()
                return answer.status, text if answer.status == 200 else answer.reason
            finally:
                connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HostError(f"the frontend {server[0]} does not answer: {error}") from None
    raise HostError(f"no free port below {_PORTS_OF_ROOT[1] + 1} on this host; try again")


def _remove(note: Path, content: str) -> None:
    """Remove a note, unless the machine has ended once more since it was read."""
    try:
        if note.read_text("utf-8", "replace") == content:
            note.unlink()
    except OSError as error:
        raise HostError(f"the note {note} cannot be removed: {explain(error, note)}") from None
