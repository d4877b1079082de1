"""A machine configured by the graph as an operator does it: the frontend reports its profile, bash runs that there."""

from __future__ import annotations

from lab.machines.frontend import Frontend
from lab.machines.machine import LabMachine

_DEADLINE_SECONDS = 300.0


def run_profile(machine: LabMachine, frontend: Frontend) -> str:
    """Run the profile of the machine on it; returns its output. ToolError with it when it fails."""
    script = frontend.report_profile(machine.description.site_name)
    return machine.run_script(script, _DEADLINE_SECONDS)
