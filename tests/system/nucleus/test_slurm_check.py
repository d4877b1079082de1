"""`nucleus check slurm` on a Slurm that others have set up: it names each setting that is missing."""

import os
import re
from collections.abc import Iterator

import pytest

from nucleus.cli.main import main
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from rocks.database.settings import Settings
from tests.slurm_site import ACCOUNT, HOSTS, PARTITION, USER, SlurmSite, create_site, namespaces

pytestmark = pytest.mark.slow

_REMOVED = re.compile(
    r"^(PrologFlags|Prolog|Epilog|HealthCheckProgram|HealthCheckInterval)=.*\n| OverTimeLimit=120",
    re.MULTILINE,
)
_OTHERS = """
EnforcePartLimits=NO
HealthCheckNodeState=IDLE
PrologEpilogTimeout=600
SchedulerParameters=bf_interval=1
AccountingStorageEnforce=associations
"""
_NAMED = [
    "OverTimeLimit", "EnforcePartLimits", "PrologFlags", "Prolog", "Epilog", "HealthCheckProgram",
    "HealthCheckInterval", "HealthCheckNodeState", "PrologEpilogTimeout", "SchedulerParameters",
    "AccountingStorageEnforce", USER,
]  # fmt: skip
"""The settings, and the user, who may charge no account."""


@pytest.fixture
def foreign(mariadb: Settings) -> Iterator[SlurmSite]:
    """slurmdbd and slurmctld of such a Slurm."""
    assert mariadb.socket is not None
    folder = create_site(HOSTS[:1])
    path = folder / "etc/slurm.conf"
    path.write_text(_REMOVED.sub("", path.read_text("ascii")) + _OTHERS, "ascii")
    with namespaces(folder) as init:
        site = SlurmSite(folder, init, mariadb.socket, HOSTS[:1])
        site.start_database()
        site.start_controller()
        yield site


@pytest.mark.usefixtures("environment")
def test_every_fault_of_a_foreign_slurm_is_named(
    foreign: SlurmSite, pool: Pool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{foreign.bin}:{os.environ['PATH']}")
    for key, value in (("KIND", "slurm"), ("PARTITION", PARTITION), ("USER", USER)):
        monkeypatch.setenv(f"NUCLEUS_BATCH_{key}", value)
    with pool.transaction() as session:
        identity.add_allocation(session, ACCOUNT)
    before = foreign.ask("scontrol", "show", "config")
    assert main(["check", "slurm"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"\w+", line)[1] for line in lines] == _NAMED, lines
    assert _without_time(foreign.ask("scontrol", "show", "config")) == _without_time(before)

    foreign.signal("slurmctld", "TERM")
    with (foreign.folder / "etc/slurm.conf").open("a", encoding="ascii") as file:
        file.write("AccountingStorageType=accounting_storage/none\n")
    foreign.start_controller()
    assert main(["check", "slurm"]) == 1
    lines = capsys.readouterr().out.splitlines()
    named = [re.findall(r"\w+", line)[1] for line in lines]
    assert named == [*_NAMED[:-2], "AccountingStorageType", *_NAMED[-2:]], lines


def _without_time(configuration: str) -> list[str]:
    return [line for line in configuration.splitlines() if not line.startswith("Configuration data as of")]
