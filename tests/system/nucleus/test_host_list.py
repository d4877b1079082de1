"""The hosts of computesets, added and removed by command while the service runs."""

from __future__ import annotations

import pytest

from nucleus.cli.main import main
from nucleus.configuration import BatchSettings, Configuration
from nucleus.mirror.pool import Pool
from owners.computesets.alarms import check_kind
from owners.computesets.batch import HostList, NewJob
from owners.computesets.controller import ComputesetController
from rocks.core.errors import HostError, StateError, UserError
from tests.system.nucleus.conftest import add_set, held, sql


@pytest.fixture(autouse=True)
def two_hosts(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of this process."""
    monkeypatch.setenv("NUCLEUS_BATCH_HOSTS", "h-[0-1]")


def job(name: str, count: int) -> NewJob:
    """A job of so many hosts."""
    return NewJob(name, count, minutes=1, account="alp1")


def test_a_host_is_used_at_once_and_leaves_when_its_job_ends(
    pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = HostList(pool, ["h-0", "h-1"])

    def done(text: str) -> str:
        capsys.readouterr()
        assert main(["host", *text.split()]) == 0
        return capsys.readouterr().out

    def hosts_of(name: str) -> tuple[str, ...]:
        return next(one.hosts for one in batch.jobs([]) if one.name == name)

    assert batch.forecast(job("none", 2)).starts_at is not None
    first = batch.submit(job("one", 2), may_exist=False)
    assert batch.forecast(job("none", 1)) == (None, "not enough hosts are free")
    batch.submit(job("two", 2), may_exist=False)
    assert hosts_of("one") == ("h-0", "h-1") and hosts_of("two") == ()
    assert batch.forecast(job("none", 1)) == (None, "others are before it")
    assert done("add h-[2-3]") == "computesets may get h-[2-3]\n"
    assert hosts_of("two") == ("h-2", "h-3"), "without a restart"
    assert done("remove h-[1-2]") == "computesets may not get h-[1-2]\n" + "".join(
        f"{name} is in use; it leaves when its computeset ends\n" for name in ("h-1", "h-2")
    )
    assert hosts_of("one") == ("h-0", "h-1"), "it keeps them"
    lines = [line.split() for line in done("list").splitlines()[1:]]
    assert lines == [["h-0", "in", "use"], ["h-3", "in", "use"], ["h-1", "leaves"], ["h-2", "leaves"]]
    with pytest.raises(UserError, match="this site has 2"):
        batch.submit(job("three", 3), may_exist=False)
    batch.end(next(one for one in batch.jobs([]) if one.id == first), is_complete=True)
    batch.submit(job("four", 1), may_exist=False)
    batch.submit(job("five", 1), may_exist=False)
    assert (hosts_of("four"), hosts_of("five")) == (("h-0",), ()), "h-1 has left"
    done("add h-1")
    assert hosts_of("five") == ("h-1",) and sql(pool, "SELECT name FROM batch_host ORDER BY name") == [
        ("h-3",)
    ]
    audited = [action for (action,) in sql(pool, "SELECT action FROM audit ORDER BY seq")]
    assert audited == ["add_host"] * 2 + ["remove_host"] * 2 + ["add_host"]


def test_a_host_is_the_same_in_another_case(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def listed() -> list[str]:
        capsys.readouterr()
        assert main(["host", "list"]) == 0
        return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]

    sql(pool, "INSERT INTO site_host (name, is_listed) VALUES ('h-0', TRUE), ('h-1', TRUE), ('h-2', TRUE)")
    assert main(["host", "add", "H-[0,2],h-2"]) == 0
    assert listed() == ["h-0", "h-1", "h-2"], "as rocks has it"
    assert main(["host", "remove", "H-[1-2]"]) == 0 and listed() == ["h-0"]
    assert main(["host", "add", "H-1"]) == 0 and listed() == ["h-0", "h-1"]
    sql(pool, "INSERT INTO batch_host (name, is_added) VALUES ('H-0', TRUE)")  # of an older version
    assert listed() == ["h-0", "h-1"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["add", "h-9"], "there is no host 'h-9'; rocks list host"),
        (["remove", "h-0,h-9"], "'h-9' is not in the list of hosts"),
        (["add", "h-["], "h-["),
        (["add", ""], "nucleus host list"),
    ],
)
def test_what_is_no_host_changes_nothing(
    pool: Pool, arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sql(pool, "INSERT INTO site_host (name, is_listed) VALUES ('h-0', TRUE)")
    assert main(["host", *arguments]) == 1 and part in capsys.readouterr().err
    assert sql(pool, "SELECT name FROM batch_host") == []


def test_with_slurm_the_partition_is_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NUCLEUS_BATCH_HOSTS")
    monkeypatch.setenv("NUCLEUS_BATCH_KIND", "slurm")
    monkeypatch.setenv("NUCLEUS_BATCH_PARTITION", "virt")
    assert main(["host", "list"]) == 1 and "the partition virt of Slurm" in capsys.readouterr().err


class Silent(HostList):
    """A batch system whose answer is lost."""

    def submit(self, job: NewJob, may_exist: bool) -> int:
        raise HostError("no answer")


def test_a_job_whose_number_is_not_stored_is_not_left_to_another_kind(
    pool: Pool, cluster_number: int
) -> None:
    """The service ended before it had the number, or the answer was lost."""
    number = add_set(pool, cluster_number, 2)
    with held(pool, "computesets") as guard:
        settings = Configuration(batch=BatchSettings("slurm", "virt"))
        ComputesetController(settings, guard, Silent(pool, [])).round()
    with pool.transaction() as session:
        with pytest.raises(StateError, match=rf'\({number}\) got their jobs with kind = "slurm"'):
            check_kind(session, "hosts")
        check_kind(session, "slurm")
        session.update("computeset", {"cancel_requested": "shutdown"}, id=number)
        check_kind(session, "hosts")  # for a Slurm that never answers again
