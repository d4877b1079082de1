"""Machines configured by the graph as an operator does it: the frontend reports a profile, bash runs it there."""

from __future__ import annotations

from lab.machines.frontend import Frontend
from lab.machines.lab import Lab, together
from lab.machines.machine import LabMachine
from lab.progress import Progress

_DEADLINE_SECONDS = 300.0
_DONE = "profile"


def run_profile(machine: LabMachine, frontend: Frontend) -> str:
    """Run the profile of the machine on it; returns its output. ToolError with it when it fails."""
    script = frontend.report_profile(machine.description.site_name)
    return machine.run_script(script, _DEADLINE_SECONDS)


def ensure_profiles(lab: Lab, frontend: Frontend, progress: Progress) -> None:
    """Have each machine configured by its profile in its clean state: once after `bin/lab start`.

    Image storage is left out, since it needs certificates of a frontend, and each site has its own. The cluster
    database is made anew. The output of a profile is the file `profile` of the machine's folder.
    """
    fresh = [machine for machine in lab.machines.values() if not (machine.folder / _DONE).exists()]
    if not fresh:
        return
    with progress.step("the machines' profiles, in a new clean state"):
        lab.return_to_clean_state()
        frontend.begin_anew()
        frontend.describe_site([machine.description for machine in lab.machines.values()])
        together(lambda machine: _configure(machine, frontend), fresh)


def _configure(machine: LabMachine, frontend: Frontend) -> None:
    output = run_profile(machine, frontend)
    machine.save_clean_state()
    (machine.folder / _DONE).write_text(output, encoding="utf-8")
