"""BIND's programs on this machine: the running named, and the checks of its files before they are written."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from rocks.core import dry_run
from rocks.core.errors import StateError
from rocks.core.files import text_if_readable
from rocks.core.process import run

_SECONDS = 60.0
_LONGEST_COMMAND_LINE = 4096
_PROGRAMS = "/usr/sbin:/usr/bin:/sbin"


def check_zone_file(name: str, text: str) -> None:
    """StateError when named would not serve the zone, with its message. Without the program nothing is checked."""
    _check("named-checkzone", ["-k", "ignore", name], text, f"the zone {name}")


def check_configuration(text: str) -> None:
    """StateError when named would not start with the configuration. Without the program nothing is checked."""
    _check("named-checkconf", [], text, "the configuration of named")


def named_process(configuration: Path) -> int | None:
    """The process number of the named that was started with this configuration; None when it does not run."""
    found = re.search(r'pid-file "([^"\n]+)"', text_if_readable(configuration))
    try:
        number = int(Path(found.group(1)).read_text("ascii")) if found else 0
        parts = Path(f"/proc/{number}/cmdline").read_bytes()[:_LONGEST_COMMAND_LINE].split(b"\0")
    except (OSError, ValueError):
        return None
    return number if b"named" in parts[0] and str(configuration).encode() in parts else None


def _check(program: str, arguments: list[str], text: str, what: str) -> None:
    path = shutil.which(program, path=_PROGRAMS)
    if path is None:
        return
    with dry_run.question(), tempfile.NamedTemporaryFile("w", prefix="rocks-dns-") as draft:
        draft.write(text)
        draft.flush()
        done = run([path, *arguments, draft.name], deadline_seconds=_SECONDS)
    if done.exit_status != 0:
        reason = (done.error_text or done.text).replace(draft.name, what).strip().splitlines()
        raise StateError(
            f"{what} is not valid with the additions of the site, and was not written: "
            f"{'; '.join(reason[:3]) or 'no reason is given'}; correct the file in /etc/bind/rocks/site, then "
            "rocks sync dns"
        )
