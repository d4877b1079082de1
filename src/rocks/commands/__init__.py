"""Commands: a folder is a command's name, `start/host/vm` is `rocks start host vm`.

A folder with an `__init__.py` that has `class Command` is a command; lower-case `class command` there is the base
that its children share, else they have that of the folder above, `rocks.commands.list.host.command` everywhere.
A folder without a file is a group. Hooks are files `plugin_*.py` in a command's folder.
Folders that begin with an underscore are no commands: `_framework` runs commands, `_shared` has what several of
them share. Other trees, named one a line in /etc/rocks/trees.d/* or in ROCKS_TREES (separated by colons), add
folders and plugins without a change here; see `_framework/tree.py`.
"""

from rocks.commands._framework.base import Command
from rocks.commands._framework.plugins import Plugin, VmPlugin

__all__ = ["Command", "Plugin", "VmPlugin"]

_MIX_INS = {
    f"{kind}ArgumentProcessor"
    for kind in ("Appliance", "Distribution", "Host", "Membership", "Network", "OS", "Roll")
}


def __getattr__(name: str) -> type:
    """The classes that commands of Rocks' rolls inherit besides a base: empty, since `Command` has their methods."""
    if name not in _MIX_INS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    mix_in: type = globals().setdefault(name, type(name, (), {}))
    return mix_in
