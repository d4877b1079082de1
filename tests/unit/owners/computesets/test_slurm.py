"""What the programs of Slurm print, as they were seen with 22.05.8, and what is made of it."""

from collections.abc import Mapping, Sequence

import pytest

from nucleus.configuration import BatchSettings
from nucleus.records import Account
from nucleus.states import ENDED, PENDING, RUNNING, UNKNOWN
from owners.computesets.batch import Charge, Job
from owners.computesets.lifecycle import jobs_by_name
from owners.computesets.slurm import (
    Slurm,
    SlurmSettings,
    missing_settings,
    parse_accounts,
    parse_charges,
    parse_ends,
    parse_nodes,
    parse_queue,
)
from rocks.core.errors import HostError
from rocks.core.process import Finished

_NAME = "VC-JOB-7-01jdz"
_NOT_YET = "the site's scheduler has not looked at it yet"


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ("12|CONFIGURING|None|n[1-2]|9", Job(12, _NAME, PENDING, ends_at=9.0, waiting=_NOT_YET)),
        ("12|RUNNING|Prolog|n[1-2]|9", Job(12, _NAME, PENDING, ends_at=9.0, waiting="its hosts are checked")),
        ("12|RUNNING|None|n[2,1]|9", Job(12, _NAME, RUNNING, ("n2", "n1"), ends_at=9.0)),
        ("12|SUSPENDED|None|n1|9", Job(12, _NAME, RUNNING, ("n1",), ends_at=9.0)),
        ("12|COMPLETED|None|n1|9", Job(12, _NAME, ENDED, (), "lost", 9.0)),
        ("12|CANCELLED|None||9", Job(12, _NAME, ENDED, (), "operator", 9.0)),
        ("12|NODE_FAIL|None||9", Job(12, _NAME, ENDED, (), "node", 9.0)),
        ("12|PREEMPTED|None||9", Job(12, _NAME, ENDED, (), "preempted", 9.0)),
        ("12|TIMEOUT|TimeLimit||9", Job(12, _NAME, ENDED, (), "timeout", 9.0)),
        ("12|TIMEOUT|AssocGrpNodeMinutes||9", Job(12, _NAME, ENDED, (), "limit", 9.0)),
    ],
)
def test_a_line_of_squeue(line: str, job: Job) -> None:
    assert parse_queue(f"{line}|7|1|alp1|{_NAME}\n") == [job._replace(starts_at=7.0)]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("AssocGrpNodeMinutes", "alp1 has no node hours left for it"),
        ("AssocMaxJobsLimit", "a limit of alp1 is reached"),
        ("Resources", "not enough hosts are free"),
        ("ReservationDeleted", "its reservation was removed; end it"),
        ("Reservation", "its reservation has not begun, or has no free hosts"),
        ("JobHeldAdmin", "the site's operators hold it"),
        ("Nodes_required_for_job_are_DOWN", "hosts that it needs are not available"),
        ("BurstBufferStageIn", "the site's scheduler has not placed it"),
    ],
)
def test_why_a_job_waits_in_words_for_owners(reason: str, text: str) -> None:
    (job,) = parse_queue(f"12|PENDING|{reason}||N/A|1700000000|5|alp1|{_NAME}\n")
    assert job == Job(12, _NAME, PENDING, (), "", None, 1.7e9, text, 1)


def test_the_place_of_a_job_is_by_priority_then_by_number() -> None:
    lines = [("15", "PENDING", 3), ("9", "RUNNING", 9), ("12", "PENDING", 3), ("14", "PENDING", 8)]
    text = "".join(f"{number}|{state}|None|||N/A|{priority}|a|{_NAME}\n" for number, state, priority in lines)
    assert [job.place for job in parse_queue(text)] == [3, None, 2, 1]


def test_a_strange_value_of_squeue_stops_nothing() -> None:
    (job,) = parse_queue(f"12|PENDING|None||{10**20}|{10**20}|N/A|a|{_NAME}\n")
    assert (job.place, job.ends_at, job.starts_at) == (1, None, None)


def test_jobs_of_other_names_are_not_of_computesets_and_a_strange_line_is_an_error() -> None:
    assert parse_queue("12|RUNNING|None|n1|9|7|1|c|a|b\n12_1|RUNNING|None|n1|9|7|1|c|VC-JOB-x\n") == []
    with pytest.raises(HostError, match="no job"):
        parse_queue("slurm is tired\n")


def test_the_last_row_of_a_name_in_the_accounting_counts() -> None:
    text = f"12|REQUEUED|{_NAME}\n12|CANCELLED by 0|{_NAME}\n13|NODE_FAIL|b\n14|RUNNING|b\n15|COMPLETED|c\n"
    assert parse_ends(text) == {
        _NAME: Job(12, _NAME, ENDED, reason="operator"),
        "c": Job(15, "c", ENDED, reason="lost"),
    }


class _Printing(Slurm):
    """A Slurm whose programs print these texts."""

    printed: Mapping[str, str] = {}

    def run(self, program: str, *arguments: str, standard_input: bytes = b"") -> Finished:
        return Finished((program, *arguments), 0, self.printed[program].encode(), b"")


def test_an_accounting_that_cannot_be_read_is_one_that_does_not_answer() -> None:
    """Each round of the controller ended there, so that no computeset went on."""
    slurm = _Printing(BatchSettings("slurm", "virt", "nucleus"))
    slurm.printed = {"squeue": "", "sacct": f"sacct is tired|COMPLETED|{_NAME}\n"}
    assert slurm.jobs([_NAME]) == [Job(0, _NAME, UNKNOWN)]


def test_why_a_node_gets_no_jobs() -> None:
    """One with fewer CPUs than slurm.conf states is drained, too, and sinfo prints `inval`; it cannot be resumed."""
    text = (
        "n1|inval|Low socket*core*thread count, Low CPUs\nn2|idle|none\nn3|down*|Not responding\nn4|down|none\n"
        "n5|draining|new | memory\nn6|mixed|none\n"
    )
    assert parse_nodes(text) == {
        "n1": "inval: Low socket*core*thread count, Low CPUs",
        "n2": "",
        "n3": "Not responding",
        "n4": "down",
        "n5": "new | memory",
        "n6": "",
    }


def test_the_charge_of_a_name_is_that_of_all_its_jobs_when_they_have_ended() -> None:
    rows = (
        "REQUEUED|7|0|2|a", "RESIZING|40|33|2|a", "CANCELLED by 0|87|47|1|a", "COMPLETED|9|9|1|b",
        "RUNNING|Unknown|5|1|b", "TIMEOUT|200|191|1|c", "CANCELLED|Unknown|15|1|d",
    )  # fmt: skip
    assert parse_charges("\n".join(rows)) == {
        "a": Charge(113, True),
        "b": Charge(14, False),
        "c": Charge(191, True),
        "d": Charge(15, False),
    }


def test_what_an_account_may_use_and_has_used() -> None:
    record = (
        "ClusterName=tests Account={} UserName={} Partition= Priority=0 ID=3\n    GrpTRES=cpu=N(8),node=N(2)\n"
        "    GrpTRESMins=cpu=N(0),node={}(7),billing=N(0)\n    GrpTRESRunMins=cpu=N(480),node=N(120),billing=N(480)\n"
    )
    many = (("alp1", "", "300"), ("alp1", "nobody(65534)", "N"), ("gam1", "", "N"))
    text = "Current Association Manager state\n\n" + "".join(record.format(*one) for one in many)
    assert parse_accounts(text) == {"alp1": Account(300, 7, 120, 173), "gam1": Account(None, 7, 120)}


def test_the_limit_of_an_account_above_holds_where_it_leaves_less() -> None:
    record = (
        "ClusterName=tests Account={0} UserName= Partition= Priority=0 ID=3\n    ParentAccount={1} Lft=2 DefAssoc=No\n"
        "    GrpTRESMins=cpu=N(0),node={2}(7),billing=N(0)\n    GrpTRESRunMins=cpu=N(480),node=N(20),billing=N(480)\n"
    )
    accounts = (
        ("root", "", "500"),
        ("site", "root(1)", "100"),
        ("alp1", "site(2)", "300"),
        ("gam1", "site(2)", "50"),
    )
    found = parse_accounts("".join(record.format(*one) for one in accounts))
    assert found["alp1"] == Account(300, 7, 20, 73, "site") and found["gam1"] == Account(50, 7, 20, 23)
    assert found["root"] == Account(500, 7, 20, 473)
    # asked for in parts, while two change places
    ring = parse_accounts("".join(record.format(*one) for one in (("a", "b(1)", "100"), ("b", "a(2)", "50"))))
    assert [one.limited_by for one in ring.values()] == ["b", None]


class Silent(Slurm):
    """A Slurm whose controller lists these lines, and whose accounting does not answer."""

    def __init__(self, lines: str) -> None:
        super().__init__(BatchSettings("slurm", partition="virt"))
        self._lines = lines

    def asked(self, program: str, *arguments: str, passes: Sequence[str] = ()) -> str:
        if program == "sacct":
            raise HostError("no accounting")
        assert not any(argument.startswith("--partition") for argument in arguments), "it may have been moved"
        return self._lines


def test_a_job_that_completes_is_not_lost_while_the_accounting_is_away() -> None:
    """It waits again after a prolog's refusal."""
    batch = Silent(f"12|COMPLETING|None|n1|9|7|1|alp1|{_NAME}\n")
    assert [one.state for one in batch.jobs([_NAME])] == [UNKNOWN]


def test_of_several_jobs_of_a_name_the_one_that_runs_counts_then_the_first() -> None:
    jobs = [
        Job(3, "a", PENDING),
        Job(2, "a", ENDED),
        Job(4, "a", RUNNING),
        Job(9, "b", PENDING),
        Job(8, "b", PENDING),
    ]
    found, doubles = jobs_by_name([*jobs, Job(1, "c", UNKNOWN)])
    assert {name: job.id for name, job in found.items()} == {"a": 4, "b": 8, "c": 1}
    assert [job.id for job in doubles] == [3, 9, 2]


_CONFIGURATION = {
    "EnforcePartLimits": "ALL", "PrologFlags": "Alloc", "Prolog": "/p", "Epilog": "/e", "HealthCheckProgram": "/h",
    "HealthCheckInterval": "30 sec", "HealthCheckNodeState": "ANY", "PrologEpilogTimeout": "65534",
    "SchedulerParameters": "bf_interval=1,nohold_on_prolog_fail", "OverTimeLimit": "0 min",
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStorageEnforce": "associations,limits,qos,safe",
}  # fmt: skip
_PARTITION = {"PartitionName": "virt", "OverTimeLimit": "120"}
_BATCH = BatchSettings("slurm", "virt")


def _missing(configuration: dict[str, str], partition: dict[str, str]) -> list[str]:
    found = SlurmSettings(configuration, partition, frozenset(["alp1"]), (997, 997))
    return missing_settings(found, _BATCH, ["alp1"], 120.0)


def test_a_configuration_with_all_settings_lacks_none() -> None:
    assert _missing(_CONFIGURATION, _PARTITION) == []
    for more, partition in (
        ({"OverTimeLimit": "60 min"}, {"OverTimeLimit": "NONE"}),
        ({}, {"OverTimeLimit": "UNLIMITED"}),
        ({"SchedulerParameters": "NoHold_On_Prolog_Fail=yes,bf_interval=1"}, {}),
    ):
        assert _missing({**_CONFIGURATION, **more}, {**_PARTITION, **partition}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("EnforcePartLimits", "NO"),
        ("PrologFlags", "(null)"),
        ("Prolog", "(null)"),
        ("Epilog", "(null)"),
        ("HealthCheckProgram", "(null)"),
        ("HealthCheckInterval", "0 sec"),
        ("HealthCheckNodeState", "IDLE"),
        ("PrologEpilogTimeout", "600"),
        ("SchedulerParameters", "(null)"),
        ("AccountingStorageType", "accounting_storage/none"),
        ("AccountingStorageEnforce", "associations"),
    ],
)
def test_a_setting_that_is_missing_is_named(key: str, value: str) -> None:
    (line,) = _missing({**_CONFIGURATION, key: value}, _PARTITION)
    assert line.startswith(key)


def test_time_after_the_walltime_and_the_users_accounts_are_needed() -> None:
    (line,) = _missing(_CONFIGURATION, {**_PARTITION, "OverTimeLimit": "NONE"})
    assert line.startswith("OverTimeLimit")
    found = SlurmSettings(_CONFIGURATION, _PARTITION, frozenset(), (997, None))
    (line,) = missing_settings(found, _BATCH, ["alp1"], 120.0)
    assert "sacctmgr add user nucleus account=alp1" in line


@pytest.mark.parametrize(
    ("here", "there", "missing"),
    [
        (997, 4294967294, "slurmctld does not know the user nucleus by the number 997"),
        (997, 998, "slurmctld does not know the user nucleus by the number 997"),
        (None, 997, "this machine has no user nucleus"),
    ],
)
def test_slurm_knows_the_service_by_the_number_of_its_user(
    here: int | None, there: int, missing: str
) -> None:
    found = SlurmSettings(_CONFIGURATION, _PARTITION, frozenset(["alp1"]), (here, there))
    (line,) = missing_settings(found, _BATCH, ["alp1"], 120.0)
    assert line.startswith(missing)
