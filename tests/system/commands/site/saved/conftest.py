"""A frontend with a saved site, and another machine on which it is restored: another database, other folders."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.site import archive as site_archive
from rocks.storage.broker import broker as message_broker
from rocks.storage.broker.broker import BrokerSettings
from rocks.trust import encrypted_file
from tests.system.commands.conftest import Site
from tests.system.commands.site.database_contents import tables
from tests.system.conftest import record_leases
from tests.system.fresh_databases import FreshDatabases

PASSPHRASE = "a passphrase of some length"  # noqa: S105 - of a test
FILES = {
    "ssh/id_ed25519": (0o600, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    "ssh/known_hosts": (0o644, b"compute-0-0 ssh-ed25519 AAAA\n"),
    "pki/authority/ca.key": (0o600, b"\x00\xffkey"),
    "pki/authority/nodes/head.pem": (0o600, b"pair"),
    "gnupg/private-keys-v1.d/A.key": (0o600, b"signing"),
    "site-nodes/extend-compute.xml": (0o644, b"<kickstart/>\n"),
    "broker.conf": (0o600, b"password = x\n"),
}


class Machine:
    """A machine with a database, the site's folder and a folder of copies; `use` makes it the one of `rocks`."""

    def __init__(self, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self.etc, self.backup = settings, folder / "etc", folder / "backup"
        self.etc.mkdir(parents=True)
        self._monkeypatch = monkeypatch

    def use(self) -> None:
        for name, value in self.environment.items():
            self._monkeypatch.setenv(name, value)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ROCKS_DATABASE_NAME": self.settings.database,
            "ROCKS_SITE_FOLDER": str(self.etc),
            "ROCKS_BACKUP_FOLDER": str(self.backup),
        }

    def rows(self) -> dict[str, list[str]]:
        """Every row of every table."""
        with Database(self.settings) as database:
            names = sorted(tables(database) - {"schema_migrations", "sec_audit", "sec_audit_head"})
            return {name: sorted(map(repr, database.rows(f"SELECT * FROM {name}"))) for name in names}

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every regular file with its mode."""
        found = (path for path in sorted(self.etc.rglob("*")) if path.is_file() and not path.is_symlink())
        return {
            str(one.relative_to(self.etc)): (one.stat().st_mode & 0o777, one.read_bytes()) for one in found
        }


@pytest.fixture(autouse=True)
def _small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase is not tried at the real price: tests/unit/trust shows that."""
    monkeypatch.setattr(encrypted_file, "_COST", 1 << 10)


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program would start a port mapper that other tests see."""
    monkeypatch.setattr(
        message_broker, "read_broker_settings", lambda: BrokerSettings("/nowhere/rabbitmqctl")
    )


@pytest.fixture
def old(site: Site, cluster_database: Settings, tmp_path: Path) -> Machine:
    """A frontend with a host, a secret, a lease and files."""
    site.done("add host head membership=Frontend rack=0 rank=0")
    site.done("set attr Kickstart_PrivateHostname head")
    site.done("add host compute-0-0")
    site.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('root_pw', '$6$it''s\n\"odd\"')")
    site.change("INSERT INTO vm_leases (Name, Token) VALUES ('web', 4294967301)")
    machine = Machine(cluster_database, tmp_path / "old", site.patch)
    for name, (mode, content) in FILES.items():
        path = machine.etc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (machine.etc / "pki/authority").chmod(0o700)
    (machine.etc / "database.conf").write_text("socket = /old\n")
    (machine.etc / "link").symlink_to("/etc/shadow")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(machine.etc / "gnupg/S.gpg-agent"))
    machine.use()
    return machine


@pytest.fixture
def new(
    fresh_databases: FreshDatabases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    """A machine whose database has the first rows and nothing else."""
    settings = fresh_databases.take()
    record_leases(settings)
    machine = Machine(settings, tmp_path / "new", monkeypatch)
    (machine.etc / "database.conf").write_text("socket = /new\n")
    (machine.etc / "pki/authority/nodes").mkdir(parents=True)
    (machine.etc / "pki/authority/nodes/other.pem").write_bytes(b"of another authority")
    yield machine
    fresh_databases.drop(settings)


@pytest.fixture(autouse=True)
def nucleus(cluster_database: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Nucleus's schema of this test alone, which the tests' server does not have yet."""
    name = f"{cluster_database.database}_nucleus"
    monkeypatch.setattr(site_archive, "NUCLEUS", name)
    yield cluster_database._replace(database=name)
    with Database(cluster_database) as database:
        database.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """The parameter that names the file of the passphrase."""
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return f"passphrase-file={path}"


@pytest.fixture
def saved(old: Machine, site: Site, secret: str, tmp_path: Path) -> Path:
    """The saved site of the old machine."""
    return save(old, site, secret, tmp_path / "site.saved")


def save(old: Machine, site: Site, secret: str, path: Path) -> Path:
    ended = site.rocks("save site", f"file={path}", secret)
    assert (ended.status, ended.out) == (0, f"saved: {path}\n"), ended
    assert path.stat().st_mode & 0o777 == 0o600 and not list(old.backup.glob("*"))
    return path
