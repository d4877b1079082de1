"""A machine that is no site yet."""

from pathlib import Path

import pytest

from rocks.database.settings import Settings
from rocks.fleet.connection import FleetSettings
from rocks.site import checks as site_checks
from rocks.site import creation as site_creation
from tests.system.commands.conftest import CommandLine


@pytest.fixture
def rocks_without_database(
    absent_database: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Command lines on a server on which the cluster database does not exist yet."""
    assert absent_database.socket is not None
    monkeypatch.setenv("ROCKS_DATABASE_SOCKET", absent_database.socket)
    monkeypatch.setenv("ROCKS_DATABASE_NAME", absent_database.database)
    return CommandLine(capsys)


ANSWERS = """\
# the frontend of the test
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = 10.9.9.2
Kickstart_PrivateNetmask = 255.255.255.0
Kickstart_PublicInterface = eth1
Kickstart_PublicAddress = 203.0.113.2
Kickstart_PublicNetmask = 255.255.255.0
Kickstart_PublicGateway = 203.0.113.1
"""


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A file with right answers: the private address is one of this machine, the public one is not."""
    file = tmp_path / "answers"
    file.write_text(ANSWERS)
    return file


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the SSH key of the frontend is made."""
    settings = FleetSettings(str(tmp_path / "ssh" / "id_ed25519"), str(tmp_path / "ssh" / "known_hosts"))
    for module in (site_creation, site_checks):
        monkeypatch.setattr(module, "FleetSettings", lambda: settings)
    return Path(settings.key_file)


@pytest.fixture
def rocks_of_new_machine(rocks_without_database: CommandLine, key_file: Path) -> CommandLine:
    """`rocks` on a machine whose server has no cluster database, and whose key is a file of the test."""
    return rocks_without_database
