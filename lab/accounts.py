"""Accounts that exist inside a machine of the lab only: a line more in its /etc/passwd and /etc/group."""

from __future__ import annotations

from pathlib import Path

from lab.namespace import Machine


def ensure_account(machine: Machine, name: str, number: int) -> None:
    """Give a running machine an account without a password and a shell, unless it has one of that name."""
    line = f"{name}:x:{number}:"
    _ensure_line(machine, "/etc/passwd", name, f"{line}{number}::/nonexistent:/usr/sbin/nologin")
    _ensure_line(machine, "/etc/group", name, line)


def _ensure_line(machine: Machine, place: str, name: str, line: str) -> None:
    inside, cover = machine.inside(place), machine.folder / Path(place).name
    text = inside.read_text(encoding="utf-8", errors="surrogateescape")
    if f"\n{name}:" in text:
        return
    if cover.exists() and inside.samefile(cover):
        with cover.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        return
    cover.write_text(f"{text.rstrip()}\n{line}\n", encoding="utf-8", errors="surrogateescape")
    cover.chmod(0o644)
    machine.cover(cover, place)
