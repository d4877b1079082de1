"""Completion of words, options and names for bash, zsh and fish. Names come from the cache: the server is not asked.

`comet --complete INDEX WORD…` prints what word INDEX may become, a candidate a line. Only what starts fast is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from comet.cli.commands import COMMANDS, GLOBAL, SYNONYMS, Command, Parameter

if TYPE_CHECKING:
    from comet.cli.context import Context

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./_-")
"""What means nothing to a shell: bash types a candidate as it is, and names come from the server."""

_LARGEST = 4_000_000
"""Bytes of stored answers that are read: more would take longer than a key press may."""

_BASH = r"""# bash completion for comet: eval "$(comet completion bash)"
_comet() {
  local IFS=$'\n' words=("${COMP_WORDS[@]}") index=$COMP_CWORD current
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n '=:[]' -w words -i index
  fi
  current="${words[index]}"
  COMPREPLY=($(command comet --complete "$index" "${words[@]}" 2>/dev/null))
  if [ "${COMPREPLY[0]}" = "//file" ]; then
    COMPREPLY=($(compgen -f -- "${current#*=}"))
  elif [ "${current#--*=}" != "$current" ] && ! declare -F _get_comp_words_by_ref >/dev/null; then
    COMPREPLY=("${COMPREPLY[@]#*=}")
  elif declare -F __ltrim_colon_completions >/dev/null && [ "${current#--*=}" != "$current" ]; then
    COMPREPLY=("${COMPREPLY[@]#*=}")
  fi
  if [ "${#COMPREPLY[@]}" = 1 ] && [ "${COMPREPLY[0]%=}" != "${COMPREPLY[0]}" ]; then compopt -o nospace; fi
}
complete -F _comet comet
"""
_ZSH = r"""#compdef comet
# zsh completion for comet: eval "$(comet completion zsh)", after compinit
_comet() {
  local -a found
  found=("${(@f)$(command comet --complete $((CURRENT - 1)) "${words[@]}" 2>/dev/null)}")
  if [[ "${found[1]}" == "//file" ]]; then
    compset -P '*='; _files
  elif [[ -n "${found[1]}" ]]; then
    compadd -S '' -- "${(@M)found:#*=}"
    compadd -- "${(@)found:#*=}"
  fi
}
compdef _comet comet
"""
_FISH = r"""# fish completion for comet: comet completion fish | source
function __comet_complete
  set -l typed (commandline -opc)
  set -l current (commandline -ct)
  set -l found (command comet --complete (count $typed) $typed "$current" 2>/dev/null)
  if test "$found[1]" = //file
    set -l option (string match -r -- '^--[^=]*=' "$current")
    string replace -r -- '^' "$option" (__fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current"))
  else
    string join -- \n $found
  end
end
complete -c comet -f -a '(__comet_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(context: Context) -> None:
    sys.stdout.write(_SCRIPTS[context.arguments.shell])


def complete(line: list[str]) -> int:
    """Print the candidates; nothing for what is not understood."""
    if not line or not line[0].isdigit():
        return 0
    index = int(line[0])
    typed = line[2 : index + 2]
    current = typed[-1] if len(typed) == index and index else ""
    for it in candidates(typed[: max(0, index - 1)], current):
        if it == "//file" or (it.startswith(current) and _PLAIN.issuperset(it)):
            print(it)
    return 0


def candidates(before: list[str], current: str) -> Iterable[str]:
    """What the word after `before` may be, whatever is typed of it."""
    if before[:1] == ["comet"]:
        before = before[1:]
    if before[:1] == ["help"]:
        before = before[1:]
    options = (*GLOBAL, *(option for it in COMMANDS for option in it.options))
    valued = {name for it in options if it.value for name in it.names} - {"--wait"}
    given = [it for it, last in zip(before, ["", *before]) if not it.startswith("-") and last not in valued]
    given = [SYNONYMS.get(given[0], given[0]), *given[1:]] if given else []
    command = next((it for it in COMMANDS if tuple(given[: len(it.path)]) == it.path), None)
    if before and before[-1] in valued:
        return [it.partition("=")[2] or it for it in _options(command, f"{before[-1]}=")]
    if current.startswith("-"):
        return _options(command, current)
    if command is None:
        return sorted({it.path[len(given)] for it in COMMANDS if it.path[: len(given)] == tuple(given)})
    position = len(given) - len(command.path)
    if position >= len(command.arguments):
        return []
    return _values(command.arguments[position], given[len(command.path) :])


def _options(command: Command | None, current: str) -> Iterable[str]:
    known = (*(command.options if command else ()), *GLOBAL)
    name, equals, _ = current.partition("=")
    if not equals:
        return [f"{it.names[0]}{'=' if it.value and it.names[0] != '--wait' else ''}" for it in known]
    option = next((it for it in known if name in it.names), None)
    if option is None:
        return []
    found = _values(option, [])
    return found if found == ["//file"] else [f"{name}={it}" for it in found]


def _values(it: Parameter, arguments: list[str]) -> list[str]:
    if it.choices:
        return list(it.choices)
    if it.kind == "file":
        return ["//file"]
    if it.kind == "endpoint":
        return sorted(_configuration()[1])
    if not it.kind:
        return []
    if it.kind == "image":
        return [str(name).removeprefix("public/") for name in _cached("/image")]
    clusters = [one for one in _cached("/v_/cluster/") if isinstance(one, dict)]
    nodes = [
        node
        for one in clusters
        if it.kind == "set" or one.get("name") in arguments
        for node in one.get("computes") or ()
        if isinstance(node, dict)
    ]
    if it.kind == "set":
        numbers = [one.get("active_computeset") for one in nodes]
        return [str(one) for one in sorted({it for it in numbers if isinstance(it, int)})]
    return [str(one.get("name")) for one in (nodes if it.kind == "node" else clusters)]


def _configuration() -> tuple[str, dict[str, Any]]:
    """The active endpoint's name and the endpoints, of our own file only."""
    try:
        import tomllib

        from comet.client.configuration import default_path
        from comet.client.errors import UsageError

        document = tomllib.loads(default_path().read_text("utf-8"))
    except (ImportError, OSError, ValueError, UsageError):
        return "", {}
    endpoints = document.get("endpoints")
    return str(document.get("active", "")), endpoints if isinstance(endpoints, dict) else {}


def _cached(end: str) -> list[Any]:
    """The newest stored answers whose path ends so (a pattern of SQL), of the active endpoint, as one list."""
    import json
    import sqlite3

    from comet.client.cache import default_path
    from comet.client.errors import UsageError
    from comet.client.files import expanded

    active, endpoints = _configuration()
    chosen = endpoints.get(os.environ.get("COMET_ENDPOINT") or active)
    url = chosen.get("url", "") if isinstance(chosen, dict) else ""
    try:
        database = sqlite3.connect(f"{expanded(default_path()).as_uri()}?mode=ro", uri=True, timeout=0.1)
        rows = database.execute(
            "SELECT body FROM answer WHERE path LIKE ? AND endpoint = ? AND length(body) < ?"
            " ORDER BY asked_at DESC LIMIT 1",
            (f"%{end}", str(url).rstrip("/"), _LARGEST),
        ).fetchall()
        found = json.loads(rows[0][0]) if rows else []
    except (sqlite3.Error, ValueError, RecursionError, UsageError):
        return []
    return found if isinstance(found, list) else []
