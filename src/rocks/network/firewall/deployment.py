"""Firewall rules on a host: loaded at once, and taken back by the host itself unless a second connection confirms them.

The rules arrive whole, nft checks them, and the kernel replaces the old ones in one transaction. Then a new connection
has to reach the host: only it makes the rules those of the next boot. Without it a process on the host, which needs
nobody, loads the rules of the last boot file again. One change at a time is in progress on a host.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError
from rocks.core.process import run
from rocks.fleet.openssh import arguments_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.core.process import Finished
    from rocks.fleet.connection import FleetSettings, HostAddress

Loaded = Literal["loaded", "unchanged", "removed", "none"]
"""What a change did: other rules, the same rules once more, no rules instead of some, no rules as before."""

ROLLBACK_SECONDS = 30
APPLY_SECONDS = 180.0
CONFIRM_SECONDS = 60.0
"""Deadlines. The first has the time in which the change of another command ends."""

_NOT_THERE, _TAKEN_BACK = 3, 4
_SSH_FAILED = 255
"""Exit status of ssh(1) when it did not reach the host, or was not let in."""

# Of all scripts, for the host's sh. $folder has the lock, the file `pending` with the number of a change that waits for
# its confirmation, and its rules.
_BEGIN = """\
set -eu
umask 077
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
folder=/run/rocks-firewall file=/etc/rocks/firewall.nft unit=/etc/systemd/system/rocks-firewall.service
mkdir -p "$folder" /etc/rocks
has_nft() { command -v nft >/dev/null || { echo "there is no program nft" >&2; exit 3; }; }
alone() {
  exec 9>"$folder/lock"
  tries=0
  flock -w 60 9 || { echo "another change of its rules does not end" >&2; exit 1; }
  # a change waits for its confirmation; after this time nobody takes it back
  while [ -e "$folder/pending" ] && [ "$tries" -lt 90 ]; do
    flock -u 9
    sleep 1
    tries=$((tries + 1))
    flock -w 60 9 || { echo "another change of its rules does not end" >&2; exit 1; }
  done
}
"""

_APPLY = (
    _BEGIN
    + """\
token=$1 seconds=$2 new=$folder/$1.nft
has_nft
trap 'rm -f "$new"' EXIT
cat >"$new"
nft -c -f "$new"
alone
find "$folder" -name '*.nft' ! -name "$token.nft" -mmin +10 -delete
if cmp -s "$new" "$file"; then echo unchanged; else echo loaded; fi
printf '%s\\n' 'table ip rocks_nat' 'delete table ip rocks_nat' 'table inet rocks_filter' \
  'delete table inet rocks_filter' >"$folder/empty"
printf '%s\\n' "$token" >"$folder/pending"
setsid sh -c 'sleep "$2"
exec 9>/run/rocks-firewall/lock
flock 9
[ "$(cat /run/rocks-firewall/pending)" = "$1" ] || exit 0
if [ -e /etc/rocks/firewall.nft ]; then nft -f /etc/rocks/firewall.nft; else nft -f /run/rocks-firewall/empty; fi
rm -f /run/rocks-firewall/pending "/run/rocks-firewall/$1.nft"' sh "$token" "$seconds" </dev/null >/dev/null 2>&1 9>&- &
nft -f "$new" || { rm -f "$folder/pending"; exit 1; }
trap - EXIT
"""
)

_CONFIRM = (
    _BEGIN
    + """\
token=$1 new=$folder/$1.nft
exec 9>"$folder/lock"
flock -w 30 9
[ "$(cat "$folder/pending" 2>/dev/null)" = "$token" ] || exit 4
cat >"$folder/unit"
booted=
if [ -d /run/systemd/system ]; then
  booted=yes
  if ! cmp -s "$folder/unit" "$unit"; then
    install -m 644 "$folder/unit" "$unit.new"
    mv -f "$unit.new" "$unit"
    systemctl daemon-reload
  fi
  systemctl -q enable rocks-firewall.service
fi
cp "$new" /etc/rocks/.firewall.nft.new
sync /etc/rocks/.firewall.nft.new
mv -f /etc/rocks/.firewall.nft.new "$file"
# from here on nothing fails: the rules stay, and are those of the next boot
rm -f "$folder/pending" "$new"
[ -z "$booted" ] || systemctl start rocks-firewall.service || :
if command -v restorecon >/dev/null; then restorecon "$file" || :; fi
"""
)

_REMOVE = (
    _BEGIN
    + """\
alone
[ -e "$file" ] || [ -e "$unit" ] || [ -e "$folder/empty" ] || { echo none; exit 0; }
has_nft
cat >"$folder/empty"
rm -f "$file"
if [ -e "$unit" ] && [ -d /run/systemd/system ]; then
  systemctl -q disable --now rocks-firewall.service
  rm -f "$unit"
  systemctl daemon-reload
fi
nft -f "$folder/empty"
rm -f "$folder/empty" "$folder/pending"
echo removed
"""
)


def load_rules(
    host: HostAddress,
    settings: FleetSettings,
    rules: str,
    unit: str,
    rollback_seconds: int = ROLLBACK_SECONDS,
) -> Loaded:
    """Have the rules, a file for nft, in force now and after each boot; `unit` is the text of the unit that loads it.

    HostError when the host cannot be reached, before or with the rules, or cannot store them: then it has its earlier
    ones after `rollback_seconds`. StateError when nft refuses the rules, or is not there; then they were never in
    force.
    """
    if dry_run.would(
        host.name, f"load firewall rules, now and at each boot ({len(rules.splitlines())} lines for nft)"
    ):
        return "loaded"
    token = secrets.token_hex(8)
    applied = _run(host, settings, _APPLY, [token, str(rollback_seconds)], rules, APPLY_SECONDS)
    _check(host, applied)
    confirmed = _run(host, settings, _CONFIRM, [token], unit, CONFIRM_SECONDS)
    if confirmed.exit_status == _TAKEN_BACK:
        raise HostError(
            f"host {host.name} has taken the new firewall rules back: it was not reached within {rollback_seconds} s; "
            "its earlier rules are in force; run the command again"
        )
    again = f"it loads the earlier ones again, {rollback_seconds} s after it got the new ones"
    if confirmed.exit_status not in (0, _SSH_FAILED):
        raise HostError(
            f"the new firewall rules of host {host.name} are not those of its next boot ({_printed(confirmed)[-1]}): "
            f"{again}; run the command again when that is repaired"
        )
    if confirmed.exit_status != 0:
        raise HostError(
            f"host {host.name} is not reached with the new firewall rules ({_printed(confirmed)[-1]}): "
            f"{again}; rocks report host firewall {host.name} shows which rule may refuse SSH"
        )
    return "unchanged" if applied.text.strip() == "unchanged" else "loaded"


def remove_rules(host: HostAddress, settings: FleetSettings, no_rules: str) -> Loaded:
    """Have no rules of this system there, now and after each boot; `no_rules` is the file for nft that removes them.

    Errors as of `load_rules`.
    """
    if dry_run.would(host.name, "remove its firewall rules, if it has any"):
        return "removed"
    removed = _run(host, settings, _REMOVE, [], no_rules, APPLY_SECONDS)
    _check(host, removed)
    return "none" if removed.text.strip() == "none" else "removed"


def _run(
    host: HostAddress,
    settings: FleetSettings,
    script: str,
    arguments: Sequence[str],
    text: str,
    deadline_seconds: float,
) -> Finished:
    """Run the script there, by a connection of its own."""
    line = arguments_on(host, settings, ["sh", "-c", script, "sh", *arguments])
    return run(line, deadline_seconds=deadline_seconds, standard_input=text.encode())


def _check(host: HostAddress, finished: Finished) -> None:
    if finished.exit_status == 0:
        return
    if finished.exit_status == _NOT_THERE:
        raise StateError(
            f"host {host.name} has no program nft: install its package nftables there, or run its profile (rocks "
            f"sync host profile {host.name})"
        )
    if finished.exit_status == _SSH_FAILED and not host.is_local:
        raise HostError(f"the firewall rules of host {host.name} were not sent: {_printed(finished)[-1]}")
    raise StateError(
        f"host {host.name} refuses the firewall rules, its earlier ones stay: {_printed(finished)[0]}"
    )


def _printed(finished: Finished) -> list[str]:
    return (finished.error_text or "the program printed nothing").splitlines()
