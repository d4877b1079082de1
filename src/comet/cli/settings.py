"""`comet init`, `active`, `cache …`."""

from __future__ import annotations

import getpass
import os
import sys
import time
from pathlib import Path
from typing import Any, Optional

from comet.cli.context import Context, answering, ask, is_terminal
from comet.cli.output import columns, safe, show
from comet.client import configuration
from comet.client.cache import Cache, default_path
from comet.client.configuration import Configuration, Endpoint
from comet.client.durations import format_age
from comet.client.errors import AuthenticationError, UnreachableError, UsageError


def initialise(context: Context) -> None:
    """Ask what was not given, obtain a token, check it, then write the configuration: all, or nothing."""
    path = _path(context)
    known = _known(path, context)
    name = configuration.checked_name(
        _given(context, "endpoint", "Name of the server", known.active or "production")
    )
    before = known.endpoints.get(name) or Endpoint(name, "")
    endpoint = Endpoint(
        name,
        configuration.checked_url(_given(context, "url", "Address", before.url)),
        _given(context, "user", "User", before.username),
        ca=_absolute(context.option("ca") or before.ca),
        api_version=str(context.option("api_version", "v1")),
    )
    with configuration.changing(path):
        pass  # where it cannot be written, no token is made that nobody would have
    endpoint = endpoint._replace(token=_token(context, endpoint))
    _check(context, endpoint)
    with configuration.changing(path):
        known = _known(path, context)  # another may have signed in to another server meanwhile
        configuration.save(path, Configuration(path, name, {**known.endpoints, name: endpoint}))
    _clear_cache(endpoint)
    show(safe(f"{path} is written; {name} is the active server. Try: comet ll"))
    others = [it for it in sorted(known.endpoints) if it != name]
    if others and known.path != path:
        context.say(
            f"{path} is read instead of {known.path}, whose keys and passwords were not copied. "
            f"Sign in to the others, too: {', '.join(f'comet init --endpoint={it}' for it in others)}"
        )


def active(context: Context) -> None:
    found = context.configuration()
    name = context.arguments.name
    if name is not None:
        if name not in found.endpoints:
            listed = ", ".join(sorted(found.endpoints)) or "none; run comet init"
            raise UsageError(f"there is no endpoint '{name}' in {found.path}: {listed}")
        if found.path.suffix != ".toml":
            raise UsageError(f"{found.path} is the old client's and is not changed: run comet init")
        with configuration.changing(found.path):
            configuration.save(found.path, configuration.load(found.path)._replace(active=name))
        show(safe(f"{name} is the active server: {found.endpoints[name].url}"))
        return
    rows = [
        {"active": "*" if key == found.active else "", "name": key, "url": it.url, "user": it.username}
        for key, it in sorted(found.endpoints.items())
    ]
    if not rows:
        raise UsageError(f"no server is known ({found.path}): run comet init")
    context.print(rows, columns("active", "name", "url", "user"))


def acknowledge(context: Context) -> None:
    found = context.client.acknowledgement()
    show("\n".join(safe(line) for line in found["text"].splitlines()))
    if found.get("acknowledged_at"):
        context.say(f"acknowledged at {found['acknowledged_at']}")
        return
    context.confirm("Do you acknowledge it?")
    context.client.acknowledge(str(found.get("version", "")))
    context.say("acknowledged")


def cache_show(context: Context) -> None:
    cache = Cache(default_path(), "", "")
    rows: list[dict[str, Any]] = [
        {"endpoint": endpoint, "path": path, "bytes": size, "age": format_age(time.time() - at)}
        for endpoint, path, size, at in cache.answers()
    ]
    cache.close()
    if cache.trouble:
        raise UnreachableError(cache.trouble)
    context.print(rows, columns("endpoint", "path", "bytes", "age"))


def cache_clear(context: Context) -> None:
    endpoint = context.endpoint()
    trouble = _clear_cache(endpoint)
    if trouble:
        raise UnreachableError(trouble)
    show(safe(f"the answers of {endpoint.url} are forgotten"))


def _clear_cache(endpoint: Endpoint) -> Optional[str]:
    """Forget an endpoint's answers; why that was not possible."""
    cache = Cache(default_path(), endpoint.url, endpoint.identity)
    cache.clear()
    cache.close()
    return cache.trouble


def _path(context: Context) -> Path:
    path = Path(str(context.option("config"))) if context.option("config") else configuration.default_path()
    if path.suffix != ".toml":
        raise UsageError(f"{path}: a new configuration is TOML; give it a name that ends in .toml")
    return path


def _known(path: Path, context: Context) -> Configuration:
    """What is configured, also by the old client; a file that cannot be understood is not overwritten."""
    if path.exists():
        return context.configuration()
    try:
        return configuration.load(configuration.old_path())
    except UsageError:
        return Configuration(path, "", {})


def _given(context: Context, option: str, question: str, default: str) -> str:
    """An option, an answer, or the default for an empty one. UsageError without a terminal and without a default."""
    given = str(context.option(option) or "")
    if given:
        return given
    if not is_terminal():
        if default:
            return default
        raise UsageError(f"give --{option}: without a terminal nobody can answer")
    answer = ask(f"{question}{f' [{default}]' if default else ''}: ") or default
    if not answer:
        raise UsageError(f"no {question.lower()} was given (--{option})")
    return answer


def _token(context: Context, endpoint: Endpoint) -> str:
    """A token of a file, of COMET_TOKEN, or for the user's password, which is asked for or in COMET_PASSWORD."""
    source = context.option("token_file")
    if source is not None:
        try:
            text = sys.stdin.readline() if source == "-" else Path(str(source)).read_text("utf-8")
        except OSError as error:
            raise UsageError(f"--token-file={source}: it cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise UsageError(f"--token-file={source}: it is no text; give the file with the token") from None
        return configuration.checked_token(text.strip())
    if os.environ.get("COMET_TOKEN"):
        return configuration.checked_token(os.environ["COMET_TOKEN"])
    from comet.client.client import logon

    return logon(endpoint, _password(endpoint), context.timeout())


def _password(endpoint: Endpoint) -> str:
    if "COMET_PASSWORD" in os.environ:
        return os.environ["COMET_PASSWORD"]
    if not is_terminal():
        line = sys.stdin.readline()
        if line:
            return line.rstrip("\n")
        raise UsageError(
            "no password: give --token-file=FILE, or the password on standard input or in COMET_PASSWORD"
        )
    try:
        with answering():
            return getpass.getpass(f"Password of {safe(endpoint.username)} at {endpoint.url}: ")
    except EOFError:
        raise UsageError("no password was given") from None


def _check(context: Context, endpoint: Endpoint) -> None:
    """That the server takes the token, and says so as Nucleus would."""
    from comet.client.client import Client

    with Client(endpoint, timeout=context.timeout()) as client:
        found = client.document("user")
    if not isinstance(found, dict) or not isinstance(found.get("username"), str):
        raise UnreachableError(f"{endpoint.url} is not a Nucleus: check the address")
    if found["username"] != endpoint.username:
        raise AuthenticationError(f"the token is that of {found['username']}, not of {endpoint.username}")


def _absolute(path: Any) -> str:
    return str(Path(str(path)).resolve()) if path else ""
