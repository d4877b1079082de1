"""The files of a new roll: path → text, in which @NAME@, @WORD@ (of commands), @VERSION@ and @ARCH@ are replaced."""

from __future__ import annotations

_DESCRIPTION = """<?xml version="1.0" encoding="UTF-8"?>
<roll name="@NAME@" interface="4.0">
  <!-- the time of all files on the ISO: the same sources give the same ISO -->
  <timestamp date="2026-01-01" time="00:00:00" tz="UTC"/>
  <info version="@VERSION@" release="1" arch="@ARCH@" os="linux"/>
  <!-- the largest ISO in MB; 0: any size -->
  <iso maxsize="0"/>
  <!-- rolls that must be enabled as well, such as "kvm other>=1.2" -->
  <rpm rolls="" bin="1" src="0"/>
</roll>
"""

_VERSION = """# The same as in roll-@NAME@.xml; the build compares them.
ROLLNAME = @NAME@
VERSION  = @VERSION@
RELEASE  = 1
"""

_MAKEFILE = """# Targets of the roll @NAME@. ROCKS is the program `rocks`: make roll ROCKS=/path/to/bin/rocks
# KEY is the secret key with which gpg signs the ISO: make roll KEY=rolls@example.org
include version.mk
ROCKS = rocks
DESCRIPTION = roll-$(ROLLNAME).xml
# Folders with a Makefile of a package of your own, whose targets deb and rpm put it into packages
SOURCES = $(patsubst %/Makefile,%,$(wildcard src/*/Makefile))

.DEFAULT_GOAL := roll
.PHONY: help roll reroll profile deb rpm test clean
help: ## list these targets
\t@sed -n 's/^\\([a-z]*\\):[^#]*## \\(.*\\)/  make \\1\t\\2/p' Makefile

roll: deb reroll ## the packages of src, then the ISO, in this folder

reroll: ## the ISO alone, with the packages that are in packages
\t'$(ROCKS)' create roll $(DESCRIPTION) $(if $(KEY),'key=$(KEY)')

profile: ## the packages roll-$(ROLLNAME)-kickstart: nodes, graphs and commands for apt and dnf
\t'$(ROCKS)' create package $(DESCRIPTION) kind='deb rpm'

deb: ## the deb packages of the folders in src
\t@for folder in $(SOURCES); do $(MAKE) -C "$$folder" deb || exit 1; done

rpm: ## the rpm packages of the folders in src
\t@for folder in $(SOURCES); do $(MAKE) -C "$$folder" rpm || exit 1; done

test: ## the tests in tests; they need neither root nor a database
\tROCKS='$(ROCKS)' python3 -m unittest discover --start-directory tests --verbose

clean: ## remove what was built in this folder
\trm -f $(ROLLNAME)-*.disk1.iso roll-$(ROLLNAME)-kickstart[-_]*.deb roll-$(ROLLNAME)-kickstart[-_]*.rpm
"""

_NODE = """<?xml version="1.0" encoding="UTF-8"?>
<kickstart>
  <description>A file on every compute for which the attribute @WORD@_message is set.</description>
  <post>
    <file name="/etc/@NAME@.conf" perms="0644">
message = &@WORD@_message;
    </file>
  </post>
</kickstart>
"""

_GRAPH = """<?xml version="1.0" encoding="UTF-8"?>
<graph>
  <description>Computes for which the attribute is set have the node.</description>
  <edge from="compute" to="@NAME@" cond="@WORD@_message"/>
  <order head="client" tail="@NAME@"/>
</graph>
"""

_COMMAND = '''"""`rocks list host @WORD@`"""

import rocks.commands
from rocks.database.attributes import resolve_attributes

RollName = "@NAME@"


class Command(rocks.commands.Command):
    """
    List the messages of hosts: their attribute @WORD@_message.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts; default: all.
    </arg>

    <example cmd='list host @WORD@ compute'>
    All computes.
    </example>

    <related>set host attr</related>
    """

    MustBeRoot = 0

    def run(self, params, args):
        """Print one row per host."""
        names = self.getHostnames(args)
        attributes = resolve_attributes(self.db, names)
        self.beginOutput()
        for name in names:
            message = attributes[name].get("@WORD@_message")
            self.addOutput(name, message.value if message else None)
        self.endOutput(header=("host", "message"), trimOwner=False)
'''

_PLUGIN = '''"""Hook of `remove host`: names the file that stays on a removed host."""

import rocks.commands


class Plugin(rocks.commands.Plugin):
    """Runs before the row of the host is deleted."""

    def provides(self):
        return "@NAME@"

    def run(self, host):
        self.owner.notify(f"the file /etc/@NAME@.conf stays on {host}, if it has one")
'''

_TEST = '''"""Tests of the roll @NAME@: `make test`. They need neither root nor a database."""

import os
import pathlib
import subprocess
import tempfile
import unittest

ROLL = pathlib.Path(__file__).resolve().parents[1]
ROCKS = os.environ.get("ROCKS", "rocks")


def rocks(*arguments):
    """Run `rocks` with the commands of this folder; returns what it printed."""
    environment = {**os.environ, "ROCKS_TREES": str(ROLL / "commands")}
    done = subprocess.run(
        [ROCKS, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"rocks {arguments} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class RollTest(unittest.TestCase):
    def test_the_command_is_found_and_explains_itself(self):
        self.assertIn("List the messages of hosts", rocks("list", "host", "@WORD@", "help"))

    def test_the_roll_is_built_and_twice_the_same(self):
        description = str(ROLL / "roll-@NAME@.xml")
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            for folder in (one, other):
                rocks("create", "roll", description, f"dir={folder}")
            isos = [path.read_bytes() for folder in (one, other) for path in pathlib.Path(folder).glob("*.iso")]
        self.assertEqual(len(isos), 2)
        self.assertEqual(isos[0], isos[1])


if __name__ == "__main__":
    unittest.main()
'''

FILES = {
    "roll-@NAME@.xml": _DESCRIPTION,
    "version.mk": _VERSION,
    "Makefile": _MAKEFILE,
    "nodes/@NAME@.xml": _NODE,
    "graphs/default/@NAME@.xml": _GRAPH,
    "commands/list/host/@WORD@/__init__.py": _COMMAND,
    "commands/remove/host/plugin_@WORD@.py": _PLUGIN,
    "tests/test_roll.py": _TEST,
}
