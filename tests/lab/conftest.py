"""What every test in the lab can ask for.

`lab`     the three machines, each in its clean state when the test begins, whatever the test before it did
`site`    besides, a frontend with a cluster database that describes them, known to each other by keys, and a virtual
          cluster of two computes, one on each host, whose disks hold the guest that counts

All tests below this folder get the marker `lab`. They run inside the lab's namespace: `make test-lab`. A test
that fails leaves logs and states of all machines in .state/lab-failures. A module that passes whole gets its row in
docs/evidence/lab-passes.md (tests/lab/passes).
"""

import re
import time
from collections.abc import Iterable, Iterator

import pytest

from lab.machines.checkout import CHECKOUT, STATE, open_lab
from lab.machines.evidence import collect
from lab.machines.frontend import Frontend
from lab.machines.lab import Lab
from lab.machines.login import KEY_FILE
from lab.machines.machine import LabMachine
from lab.machines.namespace import Namespace
from lab.machines.profile import ensure_profiles
from lab.progress import Progress
from rocks.core.errors import RocksError
from tests.lab.image_site import ImageSite
from tests.lab.lab_site import LabSite
from tests.lab.passes.recorder import Recorder

SUBJECTS = (
    "lab/build",
    "lab/machines/checkout.py",
    "lab/machines/lab.py",
    "nodes",
    "graphs",
    "roll/os/compile-zfs",
    "roll/os/compilers",
    "packaging/build-hosts",
    "packaging/common-modules",
    "packaging/install",
    "packaging/debian",
)
"""What the machines of every module are made of (tests/lab/passes/keys.py)."""

_FAILURES = CHECKOUT / ".state" / "lab-failures"
_REPORTS = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_configure(config: pytest.Config) -> None:
    """Have passes of whole modules recorded in docs/evidence/lab-passes.md."""
    config.pluginmanager.register(Recorder(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep how each phase of the test ended, for the fixture that collects evidence."""
    report: pytest.TestReport = yield  # type: ignore[assignment] # pytest sends the report
    item.stash.setdefault(_REPORTS, {})[report.when or ""] = report
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def running_lab() -> Lab:
    """The lab of this checkout, every machine on."""
    if not Namespace(STATE).surrounds_this_process():
        pytest.skip("no lab around this run: start it by `make lab` and run the tests by `make test-lab`")
    running = open_lab()
    running.start(Progress())
    return running


@pytest.fixture(scope="session")
def frontend(running_lab: Lab) -> Frontend:
    """The frontend with its database server running, and every machine configured by its profile."""
    started = Frontend(running_lab.folder, running_lab.keys / KEY_FILE)
    started.start()
    ensure_profiles(running_lab, started, Progress())
    return started


@pytest.fixture
def watched(request: pytest.FixtureRequest) -> Iterator[list[Lab]]:
    """Empty; when the test fails, there is evidence of the machines of what a fixture or the test has put in."""
    began = time.time()
    labs: list[Lab] = []
    yield labs
    reports = request.node.stash.get(_REPORTS, {})
    failed = [report for report in reports.values() if report.failed]
    if failed:
        print(failed[0].longreprtext)  # now: the run's own list of failures comes at its end, hours later
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.nodeid.rpartition("/")[2])
        logs = [log for log in STATE.glob("*.log") if log.stat().st_mtime >= began]
        machines = [machine for one in labs for machine in one.machines.values()]
        try:
            _thaw(machines)
            collect(machines, logs, _FAILURES / name)
            print(f"logs and states of all machines: {_FAILURES / name}")
        except (RocksError, OSError) as error:
            print(f"the evidence is not complete: {error}")


@pytest.fixture
def lab(running_lab: Lab, frontend: Frontend, watched: list[Lab]) -> Lab:
    """The machines in their clean state, configured by their profiles; evidence of a failure afterwards."""
    running_lab.return_to_clean_state()
    watched.append(running_lab)
    return running_lab


def _thaw(machines: Iterable[LabMachine]) -> None:
    """Machines that a test left frozen, or cut off, must be able to report their state."""
    for machine in machines:
        machine.reconnect()
        try:
            machine.thaw()
        except RocksError:
            continue  # it is off: its serial line is all there is


@pytest.fixture
def site(lab: Lab, frontend: Frontend) -> LabSite:
    """A described site with a virtual cluster, nothing of it started."""
    fresh = LabSite(lab, frontend)
    fresh.set_up()
    return fresh


@pytest.fixture
def images(site: LabSite) -> ImageSite:
    """Daemons on all machines, nothing mapped."""
    made = ImageSite(site)
    made.set_up()
    return made
