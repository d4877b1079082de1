"""What the configuration of Slurm needs so that computesets can be its jobs; nothing is changed."""

from __future__ import annotations

import pwd
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, ToolError
from rocks.core.process import run_checked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from nucleus.configuration import BatchSettings

_EPILOG_SECONDS = 3600
_MARGIN_SECONDS = 60
"""How long `rocks-host-free` waits as an epilog."""

_LINE = re.compile(r"^(\w+)(?:\[\d+\])?\s*= ?(.*)$", re.MULTILINE)
"""Slurm 24.11 prints each program before jobs by itself: `Prolog[0] = …`."""

_FIELD = re.compile(r"(\w+)=(\S*)")
_HOOKS = ("Prolog", "Epilog", "HealthCheckProgram")
_ACCOUNTING = ("AccountingStorageType", "accounting_storage/slurmdbd")
_PROGRAM = "/opt/rocks/libexec/rocks-host-free"


class SlurmSettings(NamedTuple):
    """What Slurm reports. `partition` is empty when there is none; `accounts`: those that the user may charge.

    `numbers` are those of the user here and for slurmctld, which reads it when it starts; None without such a user.
    """

    configuration: Mapping[str, str]
    partition: Mapping[str, str]
    accounts: frozenset[str]
    numbers: tuple[int | None, int | None]


def read_settings(batch: BatchSettings) -> SlurmSettings:
    """Ask slurmctld and slurmdbd. HostError when one does not answer."""
    user = batch.user
    try:
        configuration = dict(_LINE.findall(_ask("scontrol", "show", "config")))
        partitions = _ask("scontrol", "--oneliner", "show", "partition")
        # without slurmdbd, sacctmgr only says that there is none
        of_user = ("--noheader", "--parsable2", "show", "associations", f"user={user}", "format=Account")
        accounts = _ask("sacctmgr", *of_user) if _has(configuration, *_ACCOUNTING) else ""
        users = _ask("scontrol", "show", "assoc_mgr", f"users={user}", "flags=users")
    except ToolError as error:
        raise HostError(f"{error}; run `scontrol ping` and `sacctmgr show cluster`") from None
    fields = [dict(_FIELD.findall(line)) for line in partitions.splitlines()]
    named = [one for one in fields if one.get("PartitionName") == batch.partition]
    known = re.search(rf"^UserName={re.escape(user)}\((\d+)\)", users, re.MULTILINE)
    return SlurmSettings(
        configuration,
        named[0] if named else {},
        frozenset(accounts.split()),
        (_own_number(user), int(known[1]) if known else None),
    )


def _own_number(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def missing_settings(
    found: SlurmSettings, batch: BatchSettings, allocations: Collection[str], grace_seconds: float
) -> list[str]:
    """A sentence for each setting that is missing, in the order of the guide; pure."""
    needs = (
        *_partition_needs(found, batch.partition, grace_seconds),
        *_host_needs(found.configuration),
        *_account_needs(found.configuration),
    )
    missing = [text for is_there, text in needs if not is_there]
    for account in sorted(set(allocations) - found.accounts):
        missing.append(
            f"{batch.user} cannot charge {account}: sacctmgr add account {account};"
            f" sacctmgr add user {batch.user} account={account}"
        )
    here, there = found.numbers
    if here is None:
        missing.append(f"this machine has no user {batch.user}, who submits the jobs")
    elif there not in (here, None):
        missing.append(
            f"slurmctld does not know the user {batch.user} by the number {here}: create it with this number where"
            " slurmctld runs, then systemctl restart slurmctld"
        )
    return missing


def _partition_needs(
    found: SlurmSettings, partition: str, grace_seconds: float
) -> Iterator[tuple[bool, str]]:
    """(whether it is there, what is missing else)."""
    yield bool(found.partition), f"the partition {partition} does not exist: PartitionName={partition}"
    over = _minutes(found.partition.get("OverTimeLimit", "NONE"))
    over = _minutes(found.configuration.get("OverTimeLimit", "0")) if over is None else over
    yield (
        (over or 0) * 60 > grace_seconds,
        f"OverTimeLimit of the partition {partition} is {over or 0} minutes: guests have {grace_seconds:g} s to"
        " shut down, and images are written back after that",
    )


def _host_needs(have: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """What lets jobs wait, and has hosts checked before and after them; as `_partition_needs`."""
    enforced, allocating = _has(have, "EnforcePartLimits", "ALL"), _has(have, "PrologFlags", "Alloc")
    yield enforced, "EnforcePartLimits=ALL, else a set that asks too much waits for ever"
    yield allocating, "PrologFlags=Alloc, else machines are started before a host was checked"
    for hook in _HOOKS:
        yield have.get(hook, "(null)") != "(null)", f"{hook}={_PROGRAM}, or a program that starts it"
    interval = _seconds(have.get("HealthCheckInterval", "0"))
    yield interval > 0, "HealthCheckInterval=30, else no health check runs"
    every_state = _has(have, "HealthCheckNodeState", "ANY")
    yield every_state, "HealthCheckNodeState=ANY, else a host that is down is not checked"
    limit = _seconds(have.get("PrologEpilogTimeout", "65534"))
    yield (
        limit >= _EPILOG_SECONDS + _MARGIN_SECONDS,
        f"PrologEpilogTimeout is {limit} s: an epilog waits for {_EPILOG_SECONDS} s",
    )
    yield (
        _has(have, "SchedulerParameters", "nohold_on_prolog_fail"),
        "SchedulerParameters=nohold_on_prolog_fail, else a job that a host refuses is held",
    )


def _account_needs(have: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    yield (
        _has(have, *_ACCOUNTING),
        "AccountingStorageType=accounting_storage/slurmdbd, else the end of a job is not known for long",
    )
    yield (
        _has(have, "AccountingStorageEnforce", "associations", "limits", "safe"),
        "AccountingStorageEnforce=associations,limits,safe, else accounts have no limits",
    )


def _has(have: Mapping[str, str], key: str, *values: str) -> bool:
    given = {value.partition("=")[0].lower() for value in have.get(key, "").split(",")}
    return {value.lower() for value in values} <= given


def _minutes(text: str) -> int | None:
    """None where nothing is set."""
    number = re.match(r"\d+", text)
    return int(number[0]) if number else 10**6 if text == "UNLIMITED" else None


def _seconds(text: str) -> int:
    number = re.match(r"\d+", text)
    return int(number[0]) if number else 0


def _ask(*arguments: str) -> str:
    return run_checked(arguments, deadline_seconds=30.0).text
