"""From a blank machine to a configured host, and once more, by the frontend's commands and services alone."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installer.blank_machine import make_disk
from tests.installer.network_machine import NetworkMachine
from tests.installer.served_site import DIST, Frontend

# fixtures
from tests.system.conftest import (  # noqa: F401
    cluster_database,
    cluster_environment,
    fresh_databases,
    initialised_data,
    mariadb,
)

pytestmark = [
    pytest.mark.installer,
    pytest.mark.skipif(not (DIST / "installer.img").exists(), reason="nothing is built; run make installer"),
    pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="dnsmasq is not installed; run make setup"),
]


@pytest.fixture
def frontend(cluster_environment: dict[str, str]) -> Iterator[Frontend]:  # noqa: F811
    """A frontend with its services; the folder is not below pytest's, which others cannot enter."""
    with tempfile.TemporaryDirectory(prefix="rocks-site-") as folder:
        found = Frontend(Path(folder), cluster_environment)
        yield found
        found.close()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_discovered_installed_configured_and_installed_again(frontend: Frontend, firmware: str) -> None:
    machine = NetworkMachine(
        frontend, firmware, [make_disk(frontend.folder, firmware)], uefi=firmware == "uefi"
    )
    try:
        assert machine.discovered("compute") == ("compute-0-0", "10.9.0.254")
        machine.wait_for_state("compute-0-0", "configured")
        assert frontend.rocks("list", "host", "boot", "compute-0-0").split() == ["ACTION", "os"]
        asked = (
            "hostname; cat /etc/machine-id; ls /sys/firmware; apt-get -qq update; apt-cache policy site-mark"
        )
        first = frontend.ask("compute-0-0", asked)
        fields = first.text.split()
        assert fields[0] == "compute-0-0", machine.evidence()
        assert ("efi" in fields) == (firmware == "uefi")
        assert "Candidate: 1" in first.text

        frontend.rocks("set", "host", "attr", "compute-0-0", "install_overwrite", "yes")
        frontend.rocks("set", "host", "boot", "compute-0-0", "action=install")
        assert frontend.state("compute-0-0")[0] == "waiting"
        frontend.ask("compute-0-0", "systemctl reboot")
        machine.wait_for_state("compute-0-0", "installing")
        machine.wait_for_state("compute-0-0", "configured")
        again = frontend.ask("compute-0-0", "hostname; cat /etc/machine-id").text.split()
        assert again[0] == "compute-0-0" and again[1] != fields[1]
    finally:
        machine.cut_power()
