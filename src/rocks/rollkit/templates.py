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
include version.mk
ROCKS = rocks

.PHONY: roll test clean
roll: ## the ISO, in this folder
\t$(ROCKS) create roll roll-$(ROLLNAME).xml

test: ## the tests in tests; they need neither root nor a database
\tROCKS='$(ROCKS)' python3 -m unittest discover --start-directory tests --verbose

clean:
\trm -f $(ROLLNAME)-*.disk1.iso
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
