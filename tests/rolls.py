"""Rolls of tests: source folders, built and added as their authors and operators would."""

from pathlib import Path

from tests.debs import make_deb

DESCRIPTION = """<roll name="{name}" interface="4.0">
  <timestamp date="2026-01-31" time="12:00:00" tz="UTC"/>
  <info version="{version}" release="1" arch="{arch}" os="linux"/>
  <iso maxsize="0"/>
  <rpm rolls="{needs}" bin="1" src="0"/>
</roll>
"""
NODE = """<kickstart>
  <description>A file on every compute.</description>
  <post>
    <file name="/etc/{name}.conf" perms="0644">
message = &{name}_message;
    </file>
  </post>
</kickstart>
"""
GRAPH = '<graph>\n  <edge from="compute" to="{name}" cond="{name}_message"/>\n</graph>\n'
COMMAND = '''"""`rocks report {name}`"""

import rocks.commands

RollName = "{name}"


class Command(rocks.commands.Command):
    """
    Report a greeting.

    <example cmd='report {name}'>
    The greeting.
    </example>
    """

    MustBeRoot = 0

    def run(self, params, args):
        self.addText("hello from {version}\\n")
'''

FRONTEND_NODE = """<kickstart>
  <description>A package, a file and a service of the frontend.</description>
  <package>{name}-tool</package>
  <post>
    <file name="/etc/{name}.conf" perms="0644">
message = &{name}_message;
    </file>
    <file name="/etc/systemd/system/{name}.service" perms="0644">
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/touch /run/{name}-ran

[Install]
WantedBy=multi-user.target
    </file>
rocks_service {name}.service
  </post>
</kickstart>
"""


def write_roll(
    folder: Path, name: str = "hello", version: str = "1.0", arch: str = "noarch", needs: str = ""
) -> Path:
    """The sources of a roll with a node, an edge and the command `report NAME`; returns its roll-NAME.xml."""
    values = {"name": name, "version": version, "arch": arch, "needs": needs}
    files = {
        f"roll-{name}.xml": DESCRIPTION,
        f"nodes/{name}.xml": NODE,
        f"graphs/default/{name}.xml": GRAPH,
        f"commands/report/{name}/__init__.py": COMMAND,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.format(**values))
    return folder / f"roll-{name}.xml"


def write_frontend_roll(folder: Path, name: str, needs: str = "") -> Path:
    """The sources of a roll whose node gives the frontend a package, a file with an attribute, and a service."""
    description = write_roll(folder, name, needs=needs)
    (folder / f"nodes/{name}.xml").write_text(FRONTEND_NODE.format(name=name))
    (folder / f"graphs/default/{name}.xml").write_text(f'<graph><edge from="server" to="{name}"/></graph>\n')
    make_deb(folder / "packages", f"{name}-tool", files={f"usr/share/{name}/tool": "tool\n"})
    return description
