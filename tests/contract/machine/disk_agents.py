"""A program that is the agent of a host without libvirt, for the streams of disks."""

import sys
from pathlib import Path

from rocks.machine.host.files import ImageOwners

SOURCES = Path(__file__).resolve().parents[3] / "src"
AGENT = """#!/bin/sh
'''exec' "{python}" "$0" "$@" # a path with blanks begins no script
'''
import os, sys
sys.path.insert(0, {sources!r})
import rocks.machine.host.host, rocks.agent.main
from tests.fakes.libvirt import FakeDomains
from pathlib import Path
rocks.machine.host.host._libvirt = FakeDomains
rocks.agent.main.state_folder = lambda: Path({state!r})
{more}
sys.exit(rocks.agent.main.program())
"""


def write_agent(folder: Path, more: str = "", script: str | None = None) -> Path:
    """Write it with its state in the folder; `more` is run before it, a `script` takes its place."""
    program = folder / "agent"
    text = AGENT.format(python=sys.executable, sources=str(SOURCES), state=str(folder / "state"), more=more)
    program.write_text(text if script is None else script)
    program.chmod(0o755)
    return program


def mark(folder: Path, path: Path, machine: str) -> None:
    """Record whose disk it is."""
    with path.open("rb") as file:
        ImageOwners(folder / "state").set_file(file.fileno(), str(path), machine)
