"""The user and group under which libvirt starts QEMU on this host."""

from __future__ import annotations

import grp
import pwd
import re
from pathlib import Path
from typing import NamedTuple, Optional

CONFIGURATION = Path("/etc/libvirt/qemu.conf")
_DEFAULT_USERS = ("libvirt-qemu", "qemu")
_SETTING = re.compile(r'^[ \t]*(user|group)[ \t]*=[ \t]*"([^"\n]+)"', re.MULTILINE)


class QemuOwner(NamedTuple):
    """`uid` of QEMU, and a group of it; each None where it is not known."""

    uid: Optional[int]
    gid: Optional[int]


def qemu_owner() -> QemuOwner:
    """From libvirt's configuration, else the account that a distribution makes for it."""
    try:
        settings = dict(_SETTING.findall(CONFIGURATION.read_text("utf-8", "replace")))
    except OSError:
        settings = {}
    users = (settings["user"],) if "user" in settings else _DEFAULT_USERS
    user = next((found for found in map(_user, users) if found is not None), None)
    if user is None:
        return QemuOwner(None, None)
    uid, name = user
    return QemuOwner(uid, _group(settings["group"]) if "group" in settings else _group_of(uid, name))


def _user(text: str) -> "Optional[tuple[int, str]]":
    try:
        if text.lstrip("+").isdigit():
            return int(text.lstrip("+")), ""
        return pwd.getpwnam(text).pw_uid, text
    except (KeyError, ValueError):
        return None


def _group(text: str) -> Optional[int]:
    try:
        return int(text.lstrip("+")) if text.lstrip("+").isdigit() else grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        return None


def _group_of(uid: int, name: str) -> Optional[int]:
    """The group of the same name if the user is a member: Debian's primary group of it, kvm, has other members too."""
    try:
        own = grp.getgrnam(name)
        if name in own.gr_mem or pwd.getpwuid(uid).pw_gid == own.gr_gid:
            return own.gr_gid
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return None
