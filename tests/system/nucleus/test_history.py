"""What has ended is removed when it is old; old rows of the audit log go to files, and stay a part of its chain."""

import dataclasses
import gzip
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from nucleus.backends.rocks import Rocks
from nucleus.cli.main import main
from nucleus.configuration import Configuration, DatabaseSettings, HistorySettings
from nucleus.mirror import audit, history, operations
from nucleus.mirror.pool import Guard, Pool
from nucleus.poller.poller import Poller
from nucleus.records import NewOperation
from owners.computesets import batch
from owners.computesets import records as computesets
from tests.system.nucleus.conftest import add_cluster, compute_numbers, sql

OLD = "UTC_TIMESTAMP(3) - INTERVAL 366 DAY"
YOUNG = "UTC_TIMESTAMP(3) - INTERVAL 364 DAY"


def add_entries(pool: Pool, count: int, old: int) -> None:
    """Entries of which the first ones are older than a year, as if they had been made then."""
    with pool.transaction() as session, pytest.MonkeyPatch.context() as patch:
        for number in range(count):
            days = 366 if number < old else 0
            patch.setattr(audit, "datetime", _Clock(days))
            audit.record(session, audit.Entry("ann", "poweron", f"vc/{number}", before="{}", request_id="rä"))


class _Clock:
    """`datetime`, so many days ago."""

    def __init__(self, days: int) -> None:
        self._days = days

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) - timedelta(days=self._days)


def archived(pool: Pool, folder: Path) -> int:
    with pool.transaction() as session:
        return audit.archive_old(session, folder, 365)


def faults(pool: Pool, folder: Path) -> list[str]:
    with pool.transaction() as session:
        return list(audit.faults(audit.whole_chain(session, folder)))


def test_old_rows_of_the_audit_log_go_to_files_and_stay_in_the_chain(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    add_entries(pool, 5, old=3)
    before = [row.seq for row in _rows(pool)]
    assert archived(pool, folder) == 3
    assert [row.entry.target for row in _rows(pool)][:2] == ["vc/3", "vc/4"]
    stated = _rows(pool)[-1].entry
    (file,) = folder.iterdir()
    assert (stated.action, stated.target) == ("archive_audit", file.name)
    assert (
        file.name == f"audit-{before[0]:012}-{before[2]:012}.json.gz" and file.stat().st_mode & 0o777 == 0o600
    )
    assert [row.entry.target for row in audit._rows_of(file)] == ["vc/0", "vc/1", "vc/2"]
    assert faults(pool, folder) == []
    assert archived(pool, folder) == 0
    file.rename(tmp_path / "elsewhere")
    assert faults(pool, folder) == [], "the log says where it begins"
    sql(pool, "DELETE FROM audit ORDER BY seq LIMIT 1")
    assert len(faults(pool, folder)) == 1, "a beginning that was not moved to a file"
    (tmp_path / "elsewhere").rename(file)
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text.replace(b"vc/1", b"vc/9")))
    assert sum("was changed: poweron of ann" in one for one in faults(pool, folder)) == 1


def _rows(pool: Pool) -> list[audit.Row]:
    with pool.transaction() as session:
        return audit.rows(session)


def test_a_file_whose_rows_were_not_removed_is_replaced(pool: Pool, tmp_path: Path) -> None:
    """As by a process that was killed before the commit; meanwhile another row has become old."""
    folder = tmp_path / "audit"
    add_entries(pool, 4, old=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "ARCHIVED_AT_ONCE", 2)
        with pytest.raises(ZeroDivisionError), pool.transaction() as session:
            assert audit.archive_old(session, folder, 365) == 2
            assert faults(pool, folder) == [], "the file is there before the commit"
            _ = 1 / 0
    assert faults(pool, folder) == []
    assert len(_rows(pool)) == 4 and len(list(folder.iterdir())) == 1
    assert faults(pool, folder) == [], "its rows are in the database, too"
    assert archived(pool, folder) == 3, "the next row follows the newest one"
    assert len(list(folder.iterdir())) == 1 and faults(pool, folder) == []


def test_a_file_of_another_schema_with_the_same_number_stays(pool: Pool, tmp_path: Path) -> None:
    """As beside a schema that was made anew."""
    folder = tmp_path / "audit"
    add_entries(pool, 3, old=2)
    assert archived(pool, folder) == 2
    (file,) = folder.iterdir()
    content = file.read_bytes()
    sql(pool, "DELETE FROM audit")
    add_entries(pool, 3, old=2)
    seq = [row.seq for row in _rows(pool)]
    file.rename(folder / f"audit-{seq[0]:012}-{seq[1]:012}.json.gz")
    (folder / f"audit-{seq[0]:012}-{seq[2]:012}.json.gz").write_bytes(content[:-9])
    assert archived(pool, folder) == 2
    assert {one.read_bytes() for one in folder.glob("former-*")} == {content, content[:-9]}
    assert len(list(folder.iterdir())) == 3


def test_a_row_of_a_clock_that_was_ahead_stops_no_archive(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    for days in (-3650, 366, 366, 0):
        with pool.transaction() as session, pytest.MonkeyPatch.context() as patch:
            patch.setattr(audit, "datetime", _Clock(days))
            audit.record(session, audit.Entry("ann", "poweron", "vc"))
    assert archived(pool, folder) == 3
    assert len(_rows(pool)) == 2 and faults(pool, folder) == []


def test_several_files_are_one_chain(pool: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    add_entries(pool, 6, old=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "ARCHIVED_AT_ONCE", 2)
        assert [archived(pool, folder) for _ in range(4)] == [2, 2, 1, 0]
    assert len(list(folder.iterdir())) == 3 and faults(pool, folder) == []
    sorted(folder.iterdir())[1].unlink()
    assert faults(pool, folder) == [], "the log says where each file ended"


def test_what_has_ended_long_ago_is_removed_and_charges_stay(pool: Pool) -> None:
    with pool.transaction() as session:
        cluster = add_cluster(session, "vc2", 4, "alpha")
        nodes = compute_numbers(session, cluster)
        for moment in (OLD, YOUNG):
            new = computesets.NewComputeset(cluster, nodes[:2], "ann", "acc", None, 60, "ann")
            number = computesets.insert_computeset(session, new)
            computesets.release_nodes(session, number)
            session.execute(
                f"UPDATE computeset SET state = 'completed', charged_seconds = 7, ended_at = {moment},"
                """ context = '{"is_released": true}' WHERE id = %s""",
                (number,),
            )
            for state in ("succeeded", "queued"):
                one = operations.insert_operation(
                    session, NewOperation("poweron", "ann", cluster, None, None)
                )
                old_id = operations.oldest_ulid(400 * 86_400)[:-10] + one.id[-10:]
                ended = moment if state == "succeeded" else "NULL"
                session.execute(
                    f"UPDATE operation SET id = %s, state = %s, ended = {ended} WHERE id = %s",
                    (old_id, state, one.id),
                )
        session.execute(f"UPDATE node SET gone_at = {OLD} WHERE id IN (%s, %s)", (nodes[0], nodes[3]))
        session.execute(f"UPDATE node SET gone_at = {YOUNG} WHERE id = %s", (nodes[2],))
    with pool.transaction() as session:
        # one operation, two nodes of the old set, and the node that no set has
        assert history.forget_old(session, 365) == 4
    assert sql(pool, "SELECT COUNT(*), SUM(charged_seconds) FROM computeset") == [(2, 14)]
    assert sql(pool, "SELECT COUNT(*) FROM computeset_node") == [(2,)]
    contexts = sql(pool, "SELECT context FROM computeset ORDER BY id")
    assert contexts == [("{}",), ('{"is_released": true}',)]
    assert sorted(sql(pool, "SELECT state FROM operation")) == [("queued",), ("queued",), ("succeeded",)]
    assert sql(pool, "SELECT COUNT(*) FROM node WHERE id = %s", (nodes[3],)) == [(0,)]
    assert sql(pool, "SELECT COUNT(*) FROM node WHERE cluster_id = %s", (cluster,)) == [(4,)]
    with pool.transaction() as session:
        assert history.forget_old(session, 365) == 0


def test_jobs_of_the_list_of_hosts_go_when_their_computesets_have_ended_long_ago(pool: Pool) -> None:
    with pool.transaction() as session:
        cluster = add_cluster(session, "vc2", 4, "alpha")
        nodes = compute_numbers(session, cluster)
        for name, moment, ended in (("old", OLD, OLD), ("young", YOUNG, YOUNG), ("long", OLD, "NULL")):
            new = computesets.NewComputeset(cluster, nodes[:1], "ann", "acc", None, 60, "ann")
            number = computesets.insert_computeset(session, new)
            computesets.release_nodes(session, number)
            session.execute(
                f"UPDATE computeset SET name = %s, ended_at = {ended} WHERE id = %s", (name, number)
            )
            job = batch.add_job(session, name, 1, ())
            batch.end_job(session, job, "completed")
            session.execute(f"UPDATE host_job SET created = {moment} WHERE id = %s", (job,))
        living = batch.add_job(session, "living", 1, ())
        session.execute(f"UPDATE host_job SET created = {OLD} WHERE id = %s", (living,))
    with pool.transaction() as session:
        history.forget_old(session, 365)
    assert sql(pool, "SELECT name FROM host_job ORDER BY name") == [("living",), ("long",), ("young",)]


def test_the_poller_does_it_and_keeps_the_log_where_no_file_can_be_written(
    pool: Pool, nucleus_settings: DatabaseSettings, lease: Guard, tmp_path: Path,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_entries(pool, 3, old=2)
    folder = tmp_path / "audit"
    folder.write_text("a file")
    configuration = Configuration(database=nucleus_settings, history=HistorySettings(folder=str(folder)))
    rocks = Rocks.__new__(Rocks)  # nothing is asked
    Poller(configuration, rocks, lease)._shorten_history()
    assert len(_rows(pool)) == 3 and "its old rows cannot be written" in caplog.text
    folder.unlink()
    Poller(configuration, rocks, lease)._shorten_history()
    assert len(_rows(pool)) == 2 and len(list(folder.iterdir())) == 1

    monkeypatch.setenv("NUCLEUS_HISTORY_FOLDER", str(folder))
    assert main(["audit", "verify"]) == 0
    assert main(["history"]) == 0
    printed = capsys.readouterr().out
    assert "the chain is whole to row" in printed
    assert "for 365 days" in printed and f"in 1 file of {folder}" in printed
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    assert main(["audit", "verify"]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_what_has_just_become_old_waits_for_the_next_hour(
    pool: Pool, nucleus_settings: DatabaseSettings, lease: Guard, tmp_path: Path
) -> None:
    """Else each poll would make a file, and a row of the log, which becomes old, too: without end."""
    folder = tmp_path / "audit"
    configuration = Configuration(database=nucleus_settings, history=HistorySettings(folder=str(folder)))
    poller = Poller(configuration, Rocks.__new__(Rocks), lease)
    add_entries(pool, 2, old=1)
    poller._shorten_history()
    sql(pool, f"UPDATE audit SET at = {OLD} ORDER BY seq LIMIT 1")
    poller._shorten_history()
    assert len(list(folder.iterdir())) == 1 and len(_rows(pool)) == 2

    poller._history_due = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "ARCHIVED_AT_ONCE", 1)
        poller._shorten_history()
        assert len(list(folder.iterdir())) == 2
        assert poller._history_due == 0.0, "there may be more"


def test_days_and_changes_are_numbers_above_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataclasses.asdict(Configuration().history)["days"] == 365
    monkeypatch.setenv("NUCLEUS_HISTORY_DAYS", "0")
    assert main(["status"]) == 1
