"""Programs that a site names in attributes: a program and its arguments, with variables before them."""

from __future__ import annotations

import re
import shlex


def site_program(command: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and variables of a command line: words NAME=value before the program are its environment.

    Only root can read a program's environment, and every user its arguments. ValueError for one that names no program.
    """
    parts = shlex.split(command)
    variables: dict[str, str] = {}
    while parts and re.match(r"[A-Za-z_][A-Za-z0-9_]*=", parts[0]):
        name, _, value = parts.pop(0).partition("=")
        variables[name] = value
    if not parts:
        raise ValueError("it names no program")
    return parts, variables
