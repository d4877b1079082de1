"""Secrets of mutual CHAP between a host and the NAS; pure."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Optional

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError

_USER = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,128}\Z")


@dataclass(frozen=True)
class ChapSecrets:
    """The host authenticates with `user` and `password`, the NAS with `mutual_user` and `mutual_password`.

    The record's repr contains no secret.
    """

    user: str
    password: str = field(repr=False)
    mutual_user: str
    mutual_password: str = field(repr=False)


def check_chap(chap: Optional[ChapSecrets]) -> None:
    """UserError unless both ends accept them: 16 to 128 characters, two different secrets. No message contains one."""
    if chap is None:
        return
    for user in (chap.user, chap.mutual_user):
        if not _USER.match(user):
            raise UserError(
                f"{user[:40]!r} is not a valid CHAP name: at most 128 letters, digits, '.', '_', ':' and '-'"
            )
    for secret in (chap.password, chap.mutual_password):
        if not _SECRET.match(secret):
            raise UserError(
                f"the CHAP secrets of {chap.user} must have 16 to 128 letters, digits and characters of ._~+/=-"
            )
    if chap.password == chap.mutual_password:
        raise UserError(f"the two CHAP secrets of {chap.user} are the same; each direction needs its own")
