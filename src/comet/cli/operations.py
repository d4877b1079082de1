"""`comet operation …`, `events`, `token …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from comet.cli.context import Context, number
from comet.cli.output import columns, safe, show
from comet.client.errors import OperationFailedError, UsageError
from comet.client.events import Event
from comet.client.records import Operation

_OPERATIONS = columns("id", "kind", "target", "state", "created", "ended", "error")
_TOKENS = columns("id", "note", "scopes", "projects", "created", "expires", "last_used", "revoked_at")
TOKEN_KEYS = "id scopes projects note created expires last_used revoked_at"


def show_all(context: Context) -> None:
    state = context.option("state")
    found = context.client.operations(state=state)
    if not found and context.form == "table":
        context.say(f"no {f'{state} ' if state else ''}operation was found")
        return
    rows = [(_table_row if context.form == "table" else _row)(it) for it in found]
    context.print(rows, _OPERATIONS, lambda: [it.document for it in found])


def show_one(context: Context) -> None:
    found = context.client.operation(context.arguments.operation)
    if context.form == "table":
        rows = [{"attribute": key, "value": _text(value)} for key, value in found.document.items()]
        context.print(rows, columns("attribute", "value"))
    else:
        context.print([_row(found)], _OPERATIONS, lambda: found.document)


def wait(context: Context) -> None:
    found = context.client.operation(context.arguments.operation)
    context.new_waiter(context.option("wait", "3600")).operation(found)
    show(f"operation {found.id} succeeded")


def cancel(context: Context) -> None:
    context.client.cancel(context.arguments.operation)
    show(f"operation {context.arguments.operation} is cancelled")


def events(context: Context) -> None:
    """One line for each event: its time, target, type, and what changed, if stated; JSON lines in other formats.

    Changes of one state of one target that follow each other are one line, unless they are followed as they happen.
    """
    types = _list(context.option("types", ""))
    follow = bool(context.option("follow"))
    before, line = None, ""
    try:
        for event in context.client.events(context.option("cluster"), types, "0", follow):
            data = event.data
            if context.form != "table":
                show(json.dumps({"id": event.id, "type": event.type, **data}).replace("\x7f", "\\u007f"))
            elif follow:
                show(safe(_event_line(event)))
            elif before == (*_event_target(event), data.get("old")) and data.get("old") is not None:
                line += f" -> {_text(data.get('new'))}"
            else:
                _show_line(line)
                line = _event_line(event)
            before = (*_event_target(event), data.get("new"))
            sys.stdout.flush()  # who follows events through a pipe waits for each
    finally:
        _show_line(line)  # also where the stream breaks off


def _show_line(line: str) -> None:
    if line:
        show(safe(line))


def _event_target(event: Event) -> tuple[Any, ...]:
    return event.type, event.data.get("cluster"), event.data.get("target")


def _event_line(event: Event) -> str:
    data = event.data
    cluster, target = (str(data.get(key) or "") for key in ("cluster", "target"))
    of_node = target.startswith(f"{cluster}/")
    where = target if of_node else "/".join(it for it in (cluster, target) if it)
    line = f"{_text(data.get('at'))}  {where}  {event.type}"
    if (data.get("old"), data.get("new")) == (
        None,
        None,
    ):  # of set.ready and node.removed, which state no more
        return line
    if event.type == "set.ends":
        return f"{line}  at {_text(data.get('new'))}"
    return f"{line}  {_text(data.get('old'))} -> {_text(data.get('new'))}"


def token_create(context: Context) -> None:
    scopes, projects = (_list(context.option(name, "")) for name in ("scopes", "projects"))
    days = context.option("days")
    found = context.client.create_token(
        scopes,
        str(context.option("note", "")),
        None if days is None else number(str(days), "a number of days"),
        projects,
    )
    token = found.get("token") or found.get("key")
    if not isinstance(token, str):
        raise OperationFailedError("the server's answer has no token. See: comet token list")
    context.say(f"{_expiry(found)}This is shown once; give it to the script as COMET_TOKEN:")
    if context.form == "table":
        show(safe(token))
    else:
        context.print([found], columns(*found), lambda: found)


def _expiry(token: Mapping[str, Any]) -> str:
    """When a new token ends, and why that is earlier than was asked for."""
    if not isinstance(token.get("expires"), str):
        return ""
    why = {
        "site": f": the site's limit is {token.get('most_days')} days",
        "credentials": ", with the token that it was made with; for a longer one ask the site's operators",
    }
    return f"It expires at {token['expires']}{why.get(str(token.get('limited_by')), '')}.\n"


def token_list(context: Context) -> None:
    context.print(context.client.tokens(), _TOKENS, keys=TOKEN_KEYS)


def token_revoke(context: Context) -> None:
    identifier = context.arguments.token
    if identifier.startswith("nuc_"):
        raise UsageError("give the token's id, not the token itself. See: comet token list")
    context.client.revoke_token(identifier)
    show(safe(f"token {identifier} is revoked"))


def _row(it: Operation) -> dict[str, Any]:
    return {key.key: getattr(it, key.key) for key in _OPERATIONS}


def _table_row(it: Operation) -> dict[str, Any]:
    """As `_row`, with the word of the command that empties a drive: the server has one kind for both."""
    is_detach = it.kind == "attach_iso" and "image" in it.document and it.document["image"] is None
    return {**_row(it), "kind": "detach_iso" if is_detach else it.kind}


def _list(text: Any) -> list[str]:
    return [it for it in str(text).split(",") if it]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value)
