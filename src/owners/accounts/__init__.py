"""Accounts: users, projects, tokens, signing in, and whose clusters are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nucleus.parts import Command, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter

    from nucleus.configuration import Configuration
    from nucleus.parts import Verifier


def _routers() -> Sequence[APIRouter]:
    from owners.accounts import sign_in, tokens, users

    return [users.router, tokens.router, sign_in.router]


def _verifier(configuration: Configuration) -> Verifier | None:
    if not configuration.oidc.issuer:
        return None
    from owners.accounts.oidc import Verifier  # its libraries take memory that most sites need not

    return Verifier(configuration.oidc)


_COMMANDS = "owners.accounts.commands"

PART = Part(
    routers=_routers,
    verifier=_verifier,
    commands={
        "cluster": Command("give clusters to projects", "owners.accounts.clusters"),
        "project": Command("add projects, their members and limits; none is removed", _COMMANDS),
        "token": Command("make and end tokens", _COMMANDS),
        "user": Command("add users, and disable them; none is removed", _COMMANDS),
    },
)
