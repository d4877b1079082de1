"""`rocks save site` on one machine, `rocks restore site` on another: another database, other folders."""

import grp
import gzip
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rocks.core.process import run
from rocks.database.backup import load_copy
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.leases.lease import read_record
from rocks.site import restore as site_restore
from rocks.site.questions import SiteInterface, read_answers_text
from rocks.trust.encrypted_file import Decryption, Encryption
from tests.system.commands.conftest import Site
from tests.system.commands.site.saved.conftest import PASSPHRASE, Machine, save
from tests.system.commands.site.test_audit import tamper
from tests.system.commands.site.test_dump import make_site, make_what_others_add

SOURCE = Path(__file__).resolve().parents[5] / "src"
_DIES = """
import os, sys
from rocks.site import restore as site_restore
from rocks.cli.main import main
setattr(site_restore, sys.argv[1], lambda *given: os._exit(9))
sys.exit(main(sys.argv[2:]))
"""


def audited(machine: Machine) -> list[tuple[int, str]]:
    """The numbers and digests of the audit log."""
    with Database(machine.settings) as database:
        return [(int(n), str(d)) for n, d in database.rows("SELECT Number, Digest FROM sec_audit ORDER BY 1")]


def rows_restored(old: Machine) -> dict[str, list[str]]:
    """Table → rows of a site that was restored from a copy of before its first lease: it is no new one."""
    rows = dict(old.rows())
    return rows | {"lease_epoch": [row.replace(", 0, 0)", ", 0, 1)") for row in rows["lease_epoch"]]}


def assert_restored(machine: Machine, old: Machine) -> None:
    """The machine has all that the old one had, and what is its own."""
    found = machine.rows()
    for table, rows in rows_restored(old).items():
        assert found[table] == rows, table
    files = old.files() | {"database.conf": (0o644, b"socket = /new\n")}
    assert machine.files() == files


def test_a_site_is_restored_on_another_machine(
    old: Machine, new: Machine, site: Site, secret: str, silent_hosts: None, tmp_path: Path, nucleus: Settings
) -> None:
    """With every kind of record; those of Nucleus are put beside, for the operator."""
    records = tmp_path / "nucleus.sql"
    records.write_bytes(b"CREATE TABLE project AS SELECT 'alp1' AS name;")
    with records.open("rb") as sql:
        load_copy(nucleus, sql)
    site.done("remove host compute-0-0")
    site.change("DELETE FROM nodes")
    make_site(site, 3)
    make_what_others_add(site)
    saved = save(old, site, secret, tmp_path / "site.saved")
    before = old.rows()
    new.use()
    assert new.rows() != before
    ended = site.rocks("restore site", str(saved), secret)
    assert ended.status == 0 and "restored: the site of head" in ended.out, ended
    assert_restored(new, old)
    assert old.rows() == before
    (records,) = new.backup.glob("nucleus-*.sql")
    assert str(records) in ended.err and b"alp1" in records.read_bytes()
    assert records.stat().st_mode & 0o777 == 0o600
    log = audited(old)[:-1]  # without the entry of save site, which is not in the copy
    assert len(log) > 100 and audited(new)[: len(log)] == log and len(audited(new)) > len(log)
    for _ in range(2):
        assert "entries, complete" in site.done("check audit")
        site.done("set attr colour red")
    assert (new.etc / "pki/authority").stat().st_mode & 0o777 == 0o700
    with Database(new.settings) as database:
        assert read_record(database) is None, "machines could start before the hosts were asked"
    checked = site.rocks("check site")
    assert "Traceback" not in checked.err and "rocks sync vm lease" in checked.out + checked.err, checked
    assert "restore " not in checked.out

    site.done("restore site", f"file={saved}", secret, f"answers={tmp_path / 'answers'}")
    plan = read_answers_text((tmp_path / "answers").read_text())
    assert (plan.frontend, plan.interfaces) == ("head", (SiteInterface("eth0", "10.1.0.1", "private"),))
    assert [(one.subnet, one.netmask) for one in plan.networks] == [("10.1.0.0", "255.255.0.0")]


def test_what_a_service_reads_is_its_own_after_a_restore(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """As the key of Nucleus, which only the service's user reads. A user that is not here is named."""
    names = ("nucleus.key", "service")
    (old.etc / names[0]).write_bytes(b"key")
    (old.etc / names[1]).mkdir(mode=0o750)
    for name in names:
        shutil.chown(old.etc / name, "nobody", "nogroup")
    saved = save(old, site, secret, tmp_path / "site.saved")
    new.use()
    assert site.rocks("restore site", str(saved), secret).status == 0
    for name in names:
        assert ((new.etc / name).owner(), (new.etc / name).group()) == ("nobody", "nogroup"), name
    assert (new.etc / "broker.conf").owner() == "root"

    def unknown(name: str) -> Any:
        raise KeyError(name)

    site.patch.setattr(grp, "getgrnam", lambda name: unknown(name) if name != "root" else grp.getgrgid(0))
    again = site.rocks("restore site", str(saved), secret, "overwrite=yes")
    for name in names:
        assert (again.status, f"when it has both, chown nobody:nogroup {new.etc / name}\n" in again.err) == (
            0,
            True,
        )


@pytest.mark.slow
def test_settings_of_this_machines_database_server_stay(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """Sizes that another machine's memory had would keep it from starting; earlier programs saved them."""
    (old.etc / "mariadb.cnf").write_text("innodb-buffer-pool-size=64G\n")
    saved = save(old, site, secret, tmp_path / "site.saved")
    with site.patch.context() as patch:
        patch.setattr("rocks.site.archive.NOT_OF_THE_SITE", ("database.conf", "installation", "trees.d"))
        of_earlier_programs = save(old, site, secret, tmp_path / "earlier.saved")
    new.use()
    (new.etc / "mariadb.cnf").write_text("innodb-buffer-pool-size=1G\n")
    (new.etc / "nucleus.toml").write_text("")
    for file in (saved, of_earlier_programs):
        ended = site.rocks("restore site", str(file), secret, "overwrite=yes")
        removed = f"removed from {new.etc}, since the saved site does not have it: nucleus.toml\n"
        assert ended.status == 0 and (removed in ended.err) == (file == saved), ended
        assert (new.etc / "mariadb.cnf").read_text() == "innodb-buffer-pool-size=1G\n"


@pytest.mark.slow
def test_a_frontend_is_overwritten_only_when_that_is_asked_for(
    saved: Path, old: Machine, new: Machine, site: Site, secret: str
) -> None:
    """Each time a copy of it is kept, also of two within a second."""
    new.use()
    moment = site_restore.utc_now()
    site.patch.setattr(site_restore, "utc_now", lambda: moment)
    assert site.rocks("restore site", str(saved), secret).status == 0
    with Database(new.settings) as database:
        database.execute("INSERT INTO aliases (Node, Name) SELECT ID, 'newer' FROM nodes LIMIT 1")
        database.commit()
    (new.etc / "newer").write_text("x")
    changed = new.rows()
    refused = site.rocks("restore site", str(saved), secret)
    assert refused.status == 1 and "overwrite=yes" in refused.err and new.rows() == changed
    ended = site.rocks("restore site", str(saved), secret, "overwrite=yes")
    assert ended.status == 0, ended
    assert_restored(new, old)
    (preserved,) = new.backup.iterdir()
    assert (preserved / "files/newer").read_text() == "x"
    assert "'newer'" in (preserved / "cluster.sql").read_text()
    assert site.rocks("restore site", str(saved), secret, "overwrite=yes").status == 0
    assert len(list(new.backup.glob("before-restore-*/cluster.sql"))) == 2


@pytest.mark.slow
def test_a_killed_restore_leaves_one_site_or_the_other_and_is_repeated(
    saved: Path, old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """What was begun is finished without overwrite=yes; another file is not restored without it."""
    other = tmp_path / "other.saved"
    other.write_bytes(repacked(saved, of_another_moment))
    new.use()
    for dies_at in ("exchange_rows", "write_site_files", "_remove_others"):
        site.change(f"INSERT INTO {new.settings.database}.distributions (Name) VALUES ('{dies_at}')")
        before = new.rows()
        assert before != rows_restored(old)
        restore = ["restore", "site", str(saved), secret, "overwrite=yes"]
        arguments = [sys.executable, "-c", _DIES, dies_at, *restore]
        environment = os.environ | {"PYTHONPATH": str(SOURCE)}
        assert run(arguments, deadline_seconds=300, environment=environment).exit_status == 9, dies_at
        left = new.rows()
        assert left in (before, rows_restored(old))
        if dies_at != "exchange_rows":  # before that, this machine is not a site's frontend
            refused = site.rocks("restore site", str(other), secret)
            assert refused.status == 1 and "overwrite=yes" in refused.err and new.rows() == left
        copies = len(list(new.backup.glob("before-restore-*/cluster.sql")))
        ended = site.rocks("restore site", str(saved), secret)
        assert ended.status == 0, (dies_at, ended)
        assert_restored(new, old)
        added = len(list(new.backup.glob("before-restore-*/cluster.sql"))) - copies
        assert added == (dies_at != "exchange_rows"), "changes may have followed"


_DIES_IN_THE_COPY = """
import os, sys
from rocks.database import backup
from rocks.cli.main import main
check = backup._check_complete
setattr(backup, "_check_complete", lambda descriptor: (check(descriptor), os._exit(9)))
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_save_leaves_no_clear_text_and_what_it_left_goes_with_the_next(
    old: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """It ends when the whole copy of the database is on the disk."""
    folder = tmp_path / "saved"
    folder.mkdir()
    arguments = [sys.executable, "-c", _DIES_IN_THE_COPY, "save", "site", f"file={folder / 'one'}", secret]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    assert run(arguments, deadline_seconds=300, environment=environment).exit_status == 9
    (left,) = folder.iterdir()
    assert b"CREATE TABLE" not in left.read_bytes() and left.stat().st_mode & 0o777 == 0o600
    assert not old.backup.exists() or not list(old.backup.iterdir())
    assert not list(old.backup.parent.rglob("*.sql"))
    save(old, site, secret, folder / "two")
    assert [one.name for one in folder.iterdir()] == ["two"]


@pytest.mark.slow
def test_a_site_of_many_mebibytes_is_saved_and_restored_in_little_memory(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """No more than the programs take: the database has 128 MiB that cannot be packed."""
    site.change("CREATE TABLE ballast (n INT PRIMARY KEY, content BLOB)")
    try:
        site.change("INSERT INTO ballast SELECT seq, RANDOM_BYTES(1024) FROM seq_1_to_131072")
        program = (
            "import sys; from rocks.cli.main import main; status = main(sys.argv[1:]);"
            # not ru_maxrss, which has that of the process before it became this program (getrusage(2), Linux)
            " peak = open('/proc/self/status').read().partition('VmHWM:')[2].split()[0];"
            " print('peak', int(peak) // 1024); sys.exit(status)"
        )

        def peak_mb(*command: str) -> int:
            environment = os.environ | {"PYTHONPATH": str(SOURCE)}
            arguments = [sys.executable, "-c", program, *command]
            ended = run(arguments, deadline_seconds=600, environment=environment)
            assert ended.exit_status == 0, ended
            return int(ended.text.rpartition("peak ")[2])

        path = tmp_path / "site.saved"
        assert peak_mb("save", "site", f"file={path}", secret) < 120
        assert path.stat().st_size > 128 << 20
        new.use()
        assert peak_mb("restore", "site", str(path), secret) < 120
        with Database(new.settings) as database:
            assert database.rows("SELECT 1 FROM nodes WHERE Name = 'compute-0-0'")
    finally:
        old.use()
        site.change("DROP TABLE ballast")


@pytest.mark.slow
def test_an_altered_audit_log_is_as_altered_after_the_restore(
    old: Machine, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    tamper(site, "UPDATE sec_audit SET Person = 'mallory' WHERE Number = 2")
    saved = save(old, site, secret, tmp_path / "site.saved")
    new.use()
    site.done("restore site", str(saved), secret)
    found = site.rocks("check audit")
    assert found.status == 1 and found.out.startswith("entry 2 does not fit its digest"), found


@pytest.mark.slow
def test_without_space_for_a_copy_nothing_is_replaced(
    saved: Path, new: Machine, site: Site, secret: str
) -> None:
    new.use()
    site.change(f"INSERT INTO {new.settings.database}.nodes (Name) VALUES ('newer')")
    before = new.rows(), new.files()

    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device", "b")

    site.patch.setattr(site_restore, "_write_files", full)
    refused = site.rocks("restore site", str(saved), secret, "overwrite=yes")
    assert refused.status == 1 and "No space left" in refused.err and "fault" not in refused.err, refused
    assert (new.rows(), new.files()) == before and not list(new.backup.iterdir())


def repacked(saved: Path, change: Callable[[tarfile.TarInfo, Any], Any], **added: bytes) -> bytes:
    """The file with changed members, under the same passphrase."""
    with saved.open("rb") as opened:
        decryption = Decryption(opened, PASSPHRASE.encode())
        content = b"".join(iter(lambda: decryption.read(1 << 20), b""))
    source = tarfile.open(fileobj=io.BytesIO(content))  # noqa: SIM115
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for entry in source:
            file = source.extractfile(entry)
            content = change(entry, file.read() if file else None)
            entry.size = len(content or b"")
            target.addfile(entry, io.BytesIO(content or b""))
        for name, content in added.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("UP", ".."))
            entry.size = len(content)
            target.addfile(entry, io.BytesIO(content))
    return encrypted(buffer.getvalue())


def encrypted(data: bytes) -> bytes:
    """A file under the passphrase."""
    content = io.BytesIO()
    encryption = Encryption(content.write, PASSPHRASE.encode())
    encryption.write(data)
    encryption.finish()
    return content.getvalue()


def of_another_moment(entry: tarfile.TarInfo, data: Any) -> Any:
    """The list of a site that was saved earlier."""
    if entry.name != "list.json":
        return data
    return json.dumps(json.loads(data) | {"saved": "2001-01-01T00:00:00Z"}).encode()


def test_what_is_not_a_whole_site_changes_nothing(
    saved: Path, new: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    new.use()
    content = saved.read_bytes()

    def newer(entry: tarfile.TarInfo, data: Any) -> Any:
        return json.dumps(json.loads(data) | {"schema": 9999}).encode() if entry.name == "list.json" else data

    def endless(entry: tarfile.TarInfo, data: Any) -> Any:
        return data.replace(b'"schema": ', b'"schema": 1e999, "x": ') if entry.name == "list.json" else data

    def same(entry: tarfile.TarInfo, data: Any) -> Any:
        return data

    def other_sql(entry: tarfile.TarInfo, data: Any) -> Any:
        return b"DROP DATABASE mysql;" if entry.name == "cluster.sql" else data

    cases = {
        "cut off": content[:-1],
        "changed": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "foreign": b"PK\x03\x04" + bytes(900),
        "newer format": content.replace(b"rocks-site 2", b"rocks-site 7", 1),
        "endless header": b'rocks-site 1\n{"scrypt": Infinity, "salt": "", "nonce": "", "length": 1, "check": ""}\n',
        "newer schema": repacked(saved, newer),
        "endless schema": repacked(saved, endless),
        "not as listed": repacked(saved, other_sql),
        "outside": repacked(saved, same, files__UP__UP__x=b"x"),
        "of the machine": repacked(saved, same, files__database_conf=b"x"),
        "no archive": encrypted(b"x" * 50),
        "no end of the archive": encrypted(gzip.compress(bytes(500))),
    }
    rows, files = new.rows(), new.files()
    for name, data in cases.items():
        (tmp_path / "bad").write_bytes(data)
        ended = site.rocks("restore site", str(tmp_path / "bad"), secret)
        assert ended.status == 1 and "is not restored" in ended.err and "Traceback" not in ended.err, (
            name,
            ended,
        )
    assert (new.rows(), new.files()) == (rows, files) and not new.backup.exists()


def test_the_passphrase_is_not_given_to_anybody_else(old: Machine, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    for text, mode, reason in (
        (PASSPHRASE, 0o644, "others may read"),
        ("short", 0o600, "at least 12"),
        ("", 0o600, "at least 12"),
    ):
        path.write_text(text)
        path.chmod(mode)
        assert reason in site.refused("save site", f"passphrase-file={path}")
    assert "no terminal" in site.refused("save site")
    assert "cannot read" in site.refused("save site", f"passphrase-file={tmp_path / 'absent'}")
    assert not old.backup.exists()


@pytest.mark.slow
def test_what_was_saved_is_printed_before_what_to_do_with_it(
    old: Machine, secret: str, tmp_path: Path
) -> None:
    path = tmp_path / "site.saved"
    program = "import sys; from rocks.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", program, "save", "site", f"file={path}", secret]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    ended = run(
        ["sh", "-c", 'exec "$@" 2>&1', "sh", *arguments], deadline_seconds=300, environment=environment
    )
    assert ended.text.splitlines() == [
        f"saved: {path}",
        f"not in it: what the link {old.etc}/link leads to",
        "keep a copy of it and its passphrase on another machine",
    ]


def test_a_full_disk_is_named_with_its_remedy(
    old: Machine, site: Site, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What mariadb-dump 11.8 printed when /var was full."""
    program = tmp_path / "bin" / "mariadb-dump"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'mariadb-dump: Got errno 28 on write' >&2\nexit 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    refused = site.refused("save site", f"file={tmp_path / 'site.saved'}", secret)
    assert refused == (
        f"cannot write a copy of the database into {old.backup}: No space left on device; free space on that file "
        f"system (df -h {old.backup})"
    )
