"""Commands: a folder is a command's name, `start/host/vm` is `rocks start host vm`.

A folder's `__init__.py` has `class Command`; lower-case `class command` is the base its children share. Hooks
are `plugin_*.py` beside it. Other trees, named one a line in /etc/rocks/trees.d/* or in ROCKS_TREES
(separated by colons), add folders and plugins without a change here; see `tree.py`.
"""

from rocks.commands.base import Command
from rocks.commands.plugins import Plugin

__all__ = ["Command", "Plugin"]
