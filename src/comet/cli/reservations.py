"""`comet reservation …`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

from comet.cli.computesets import local_time, seconds_since_epoch, zoned_time
from comet.cli.context import Context, number
from comet.cli.output import columns, safe, show
from comet.client.errors import RefusedError, UsageError
from comet.client.files import expanded
from comet.client.records import bad_answer

_COLUMNS = columns(
    "id", "site", "vc", "owner", "cpus", "memory_gb", "begin", "end", "state", "address", "reason", "title"
)
_KEYS = "id site owner vc cpus memory_gb ent title description created begin end state reason cluster address"
_MAX_KEY_BYTES = 16384
_PUBLIC = "give the file that ends in .pub, such as ~/.ssh/id_ed25519.pub"
_PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-\S+ \S")
_PRIVATE = ("PRIVATE KEY", "PuTTY-User-Key-File")
"""What files with private keys have: those of OpenSSH and OpenSSL, and those of PuTTY."""


def show_all(context: Context) -> None:
    """A row for each interval; a reservation that repeats has several."""
    found = context.client.reservations()
    rows = [
        {**one, **it, "begin": _local(it.get("begin")), "end": _local(it.get("end"))}
        for one in found
        for it in _intervals(one)
    ]
    for row in rows:
        del row["intervals"]
    if not rows and context.form == "table":
        context.say("you have no reservation. Make one: comet reservation create SITE VC")
        return
    context.print(rows, _COLUMNS, lambda: found, _KEYS)


def _intervals(one: dict[str, Any]) -> list[dict[str, Any]]:
    found = one.get("intervals")
    if not isinstance(found, list) or not all(isinstance(it, dict) for it in found):
        raise bad_answer("a reservation has no list of intervals")
    return found


def create(context: Context) -> None:
    given = context.arguments
    missing = [f"--{it}" for it in ("begin", "end", "cpus", "memory", "key") if context.option(it) is None]
    if missing:
        raise UsageError(f"reservation create {given.site}: it needs {', '.join(missing)} as well")
    made = context.client.reserve(
        {
            "site": given.site,
            "vc": given.vc,
            "begin": zoned_time(context.option("begin"), "--begin"),
            "end": zoned_time(context.option("end"), "--end"),
            "repeat": context.option("repeat"),
            "until": zoned_time(context.option("until"), "--until"),
            "cpus": number(str(context.option("cpus")), "a number of CPUs"),
            "memory_gb": number(str(context.option("memory")), "a number of GB"),
            "ent": context.option("ent"),
            "public_key": public_key(str(context.option("key")), "--key="),
            "title": context.option("title"),
            "description": context.option("description"),
        }
    )
    count = len(_intervals(made))
    times = "once" if count == 1 else f"{count} times"
    show(safe(f"reservation {made.get('id')}: {given.site} is reserved {times}"))
    if made.get("vc_checked") is False:
        context.say(
            f"whether {given.site} has the cluster image {given.vc} was not checked: ask its operators before the begin"
        )


def cancel(context: Context) -> None:
    chosen = number(context.arguments.reservation, "a reservation's number")
    context.confirm_at_terminal(
        f"Cancel reservation {chosen}? Its cluster is stopped, and removed with its disks."
    )
    context.client.cancel_reservation(chosen)
    show(f"reservation {chosen} is cancelled")


def update(context: Context) -> None:
    """A word of the published client, which refused it, too."""
    chosen = context.arguments.reservation
    raise RefusedError(
        f"to change reservation {chosen} is not supported: comet reservation cancel {chosen}, then create another"
    )


def public_key(path: str, option: str = "") -> str:
    """The public key of a file. UsageError for all else, before anything is sent: a private key stays here."""
    try:
        with expanded(Path(path)).open("rb") as file:
            content = file.read(_MAX_KEY_BYTES + 1)
        text = content.decode("utf-8").strip()
    except OSError as error:
        raise UsageError(f"{option}{path}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option}{path}: it is no text; {_PUBLIC}") from None
    if any(it in text for it in _PRIVATE):
        raise UsageError(f"{option}{path}: this is a private key, which stays with you; {_PUBLIC}")
    if len(content) > _MAX_KEY_BYTES:
        raise UsageError(f"{option}{path}: it is too large for a public key, which is one line; {_PUBLIC}")
    lines = [it for it in text.splitlines() if it.strip() and not it.startswith("#")]
    if len(lines) != 1 or not _PUBLIC_KEY.match(lines[0].strip()):
        raise UsageError(f"{option}{path}: it is not one public SSH key in one line; {_PUBLIC}")
    return text


def _local(moment: Any) -> Optional[str]:
    return local_time(seconds_since_epoch(moment if isinstance(moment, str) else None))
