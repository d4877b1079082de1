"""A frontend under systemd: the root that the medium has made boots, and its units run with their hardening."""

from pathlib import Path

import pytest

from tests.packages.booted_frontend import BootedRoot, boot_machine
from tests.packages.frontend_machine import Machine

_OPERATORS_TO_START = {"service rocks-boot.service", "service rocks-kickstart.service"}
"""They serve a network, which is the operator's to begin."""

_STATE = """\
echo "== failed units"
systemctl --failed --no-legend --plain
echo "== check site"
rocks check site 2>&1
echo "== units"
systemctl show -p Id,ActiveState,UnitFileState rocks-database.service | paste -s
systemctl is-enabled named.service rabbitmq-server.service | paste -s
echo "== listening"
ss -Hltun | awk '{print $5}'
echo "== end"
"""


_LISTENING = {"22", "5671", "8372"}
"""Ports of other addresses than this machine's own on which a new frontend listens: of SSH, the broker, and Nucleus."""


def _install_packages(machine: Machine) -> None:
    without_database = machine.install()
    assert "start the database with" in without_database.error_text


@pytest.fixture
def booted(medium: Path, tmp_path: Path) -> BootedRoot:
    """The packages are installed in the root without systemd; all else happens in the machine."""
    return boot_machine(medium, tmp_path, _install_packages)


def test_a_frontend_boots_and_its_units_run(booted: BootedRoot) -> None:
    """Installed from the drive, and started again: no unit has failed, and check site misses the os roll only."""
    installed = booted.boot(f"sh /media/cdrom/install /root/site 2>&1; echo status $?\n{_STATE}")
    assert "entered: frontend head, private 10.9.9.2 on eth0" in installed, installed
    assert "status 0" in installed, installed
    for printed in (installed, booted.boot(_STATE)):
        failed = printed.partition("== failed units\n")[2].partition("== check site\n")[0]
        assert failed.strip() == "", printed
        lines = printed.partition("== check site\n")[2].partition("== units\n")[0].splitlines()
        checked = [line for line in lines if ": " in line and not line.startswith("Error")]
        red = {line.split(":")[0] for line in checked if " ok " not in line}
        assert "roll os" in red and red - {"roll os", "clock"} <= _OPERATORS_TO_START, printed
        listening = printed.partition("== listening\n")[2].partition("== end")[0].split()
        ports = {place.rpartition(":")[2] for place in listening if not place.startswith(("127.", "[::1]"))}
        assert ports <= _LISTENING, printed
        assert "service rocks-database.service" in printed
        assert "disabled\tenabled" in printed, (
            "BIND has a unit of ours; the broker's is of the frontend's profile"
        )
        assert "ActiveState=active" in printed and "UnitFileState=enabled" in printed
