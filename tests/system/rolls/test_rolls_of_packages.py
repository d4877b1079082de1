"""The rolls mpi and metrics: their ISOs are added and enabled, and each appliance gets what is meant for it."""

import json
import os
import shutil
import subprocess  # noqa: TID251 - the script as the timer runs it
from pathlib import Path

import pytest
from lxml import etree

from rocks.install.rolls.iso import create_roll
from tests.debs import make_deb
from tests.system.commands.conftest import Site
from tests.unit.docs.pages import CHECKOUT

_MPI = {"openmpi-bin", "python3-mpi4py", "openssh-client"}
_METRICS = {"prometheus", "prometheus-libvirt-exporter"}


def test_computes_get_mpi_and_the_frontend_does_not(roll_site: Site, tmp_path: Path) -> None:
    _enable(roll_site, "mpi", _MPI, tmp_path)
    roll_site.done("add host compute-0-0")
    assert _packages(roll_site, "compute-0-0", _MPI) == _MPI
    assert _packages(roll_site, "head", _MPI) == set()


def test_the_frontend_gets_prometheus_and_its_hosts_the_exporter(roll_site: Site, tmp_path: Path) -> None:
    _enable(roll_site, "metrics", _METRICS, tmp_path)
    for host in ("vm-container-0-0", "vm-container-0-1", "compute-0-0"):
        roll_site.done("add host", host)
    roll_site.done("set host attr vm-container-0-1 kvm off")
    expected = {
        "head": {"prometheus"},
        "vm-container-0-0": {"prometheus-libvirt-exporter"},
        "vm-container-0-1": set(),
        "compute-0-0": set(),
    }
    assert {host: _packages(roll_site, host, _METRICS) for host in expected} == expected
    assert _targets(roll_site, tmp_path) == [{"targets": ["vm-container-0-0:9177"]}]
    roll_site.done("set attr prometheus_service no")
    assert _packages(roll_site, "head", _METRICS) == set()


@pytest.mark.slow
def test_prometheus_takes_its_settings(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    settings = tmp_path / "prometheus.yml"
    settings.write_text(_file("/etc/prometheus/prometheus.yml"))
    checked = subprocess.run(["promtool", "check", "config", settings], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


def _enable(site: Site, roll: str, packages: set[str], folder: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    sources = folder / roll
    shutil.copytree(CHECKOUT / "roll" / roll, sources)
    for name in packages:
        make_deb(sources / "packages", name)
    iso = create_roll(sources / f"roll-{roll}.xml", folder)
    assert site.rocks("add", "roll", str(iso)).status == 0
    site.done("add host head membership=Frontend rack=0 rank=0")
    site.done("set attr Kickstart_PrivateHostname head")
    site.done("set attr Kickstart_PrivateAddress 10.1.1.1")
    site.done("enable roll", roll)


def _packages(site: Site, host: str, of: set[str]) -> set[str]:
    return of & set(site.done("report", "host", "profile", host).split())


def _file(name: str) -> str:
    document = etree.parse(CHECKOUT / "roll/metrics/nodes/metrics-server.xml")
    (text,) = [file.text or "" for file in document.iter("file") if file.get("name") == name]
    return text.lstrip("\n")


def _targets(site: Site, folder: Path) -> object:
    """What the timer's script writes of the site's hosts."""
    (folder / "attributes.json").write_text(site.done("list host attr json=yes"))
    script = folder / "list-hosts"
    typed = _file("/usr/lib/rocks-prometheus/list-hosts")
    assert "/opt/rocks/bin/rocks list host attr json=yes |" in typed
    script.write_text(typed.replace("/opt/rocks/bin/rocks list host attr json=yes", "cat attributes.json"))
    script.chmod(0o755)
    subprocess.run([script, "hosts.json"], cwd=folder, env=dict(os.environ), check=True)
    return json.loads((folder / "hosts.json").read_text())
