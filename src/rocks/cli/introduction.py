"""What `rocks` alone prints: how a command looks, the first commands, the groups, and where the help is."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rocks.commands._framework.tree import all_commands
from rocks.core.version import guide_page, rocks_version_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = """\
rocks {version}: user-managed virtual clusters on KVM hosts

  rocks COMMAND [ARGUMENT] ... [NAME=VALUE] ...

First commands:
  rocks list host                         hosts
  rocks list host vm status=yes           virtual machines, and which of them run
  rocks list cluster                      virtual clusters
  rocks add cluster 203.0.113.9 2         a cluster: a frontend and two compute nodes
  rocks start cluster frontend-0-0-0      start it
  rocks open host console frontend-0-0-0  see its frontend

Help:
  rocks help start host vm                everything about one command
  rocks help backup                       the commands about a topic, or whose usage contains a text
  rocks help                              the commands of every day; rocks help all: every command
  rocks --version
The guide: {guide}

The words with which commands begin; `rocks list` prints the commands that begin with list:
{verbs}
"""


def introduction(trees: Sequence[str]) -> str:
    """At most 25 lines."""
    verbs = sorted({command_path[0] for command_path in all_commands(trees)})
    lines = textwrap.wrap(" ".join(verbs), 76, initial_indent="  ", subsequent_indent="  ")
    version = rocks_version_attributes()["rocks_version"]
    return _TEXT.format(version=version, guide=guide_page("operator.md"), verbs="\n".join(lines))
