"""A token for a user's name and password (rest-auth)."""

from __future__ import annotations

import contextlib

from comet.client.configuration import Endpoint, checked_token
from comet.client.connection import Connection, decoded
from comet.client.errors import AuthenticationError, RefusedError
from comet.client.records import bad_answer


def logon(endpoint: Endpoint, password: str, timeout: float = 30) -> str:
    """The new token. AuthenticationError if the server does not take name and password; RefusedError as it says."""
    body = {"username": endpoint.username, "password": password}
    try:
        with contextlib.closing(Connection(endpoint._replace(password=""), timeout)) as connection:
            path = connection.outer_path("rest-auth", "login", "")
            found = decoded(connection.request("POST", path, body, repeat=False).body)
    except (AuthenticationError, RefusedError) as error:
        if isinstance(error, RefusedError) and error.slug:  # the published one refuses a password without it
            raise
        raise AuthenticationError(
            f"the server does not take {endpoint.username} and this password: {error}"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("key"), str):
        raise bad_answer("it has no token")
    return checked_token(found["key"])


def logoff(endpoint: Endpoint, timeout: float = 30) -> None:
    """End the endpoint's token."""
    with contextlib.closing(Connection(endpoint, timeout)) as connection:
        connection.request("POST", connection.outer_path("rest-auth", "logout", ""), b"", repeat=False)
