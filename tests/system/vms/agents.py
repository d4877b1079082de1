"""Another program in the place of a host's agent."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.vms.site import ThreeMachines

REAL_AGENT = "/opt/rocks/libexec/real-agent"
"""Where the host's agent is meanwhile."""

_HURRIED_AGENT = """#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/opt/rocks/lib/rocks-agent.pyz")
from rocks.agent.main import main
import rocks.machine.host.{module} as module

module.{name} = 1
sys.exit(main(sys.argv[1:]))
"""


def hurried_agent(module: str, name: str) -> str:
    """The agent, with this constant of a module of `rocks.machine.host` one second."""
    return _HURRIED_AGENT.format(module=module, name=name)


@contextmanager
def replaced_agent(site: ThreeMachines, host: str, program: str) -> Iterator[None]:
    """The program is called in the place of the agent, until the end of the block."""
    agent = site.machines[host].outside("/opt/rocks/libexec/rocks-agent")
    real = agent.rename(site.machines[host].outside(REAL_AGENT))
    agent.write_text(program)
    agent.chmod(0o755)
    try:
        yield
    finally:
        real.replace(agent)
