"""The profiles of `cases.py` equal the golden files, which omit the common shell functions.

The file of a case whose name begins with that of another one has what differs from that:
`nas_of_distribution_for_rpm` from `nas`.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.core.process import run
from rocks.install.graph_files import Library, shell_functions
from rocks.install.host_profiles import HostOfSite, write_profile
from rocks.storage.volumes.settings import storage_roles
from rocks.storage.wire import names
from tests.golden.files import check_golden
from tests.golden.profile.cases import CASES

FOLDER = Path(__file__).parent


def profile(site: HostOfSite) -> str:
    """The script of a host, by the project's own graph."""
    return write_profile(site, Library())


def own_part(name: str) -> str:
    return profile(CASES[name]).replace(shell_functions().rstrip("\n"), "# (functions)")


@pytest.mark.parametrize("name", CASES)
def test_the_profile_equals_the_golden_file(name: str) -> None:
    assert shell_functions().rstrip("\n") in profile(CASES[name])
    base = max((case for case in CASES if name.startswith(f"{case}_")), key=len, default=None)
    check_golden(FOLDER / f"{name}.sh", own_part(name), (f"{base}.sh", own_part(base)) if base else ("", ""))


@pytest.mark.parametrize("name", CASES)
def test_bash_parses_the_profile(name: str) -> None:
    read = run(["bash", "-n"], deadline_seconds=10, standard_input=profile(CASES[name]).encode())
    assert (read.exit_status, read.error_text) == (0, "")


def test_every_golden_file_has_a_case() -> None:
    assert {path.name.partition(".")[0] for path in FOLDER.glob("*.sh*")} == set(CASES)


@pytest.mark.parametrize(
    ("case", "attribute", "value", "message"),
    [
        ("nas", "img_zpools", "tank,$(reboot)", "the attribute img_zpools of host nas-0-0 is not valid"),
        ("nas", "imgstorage-network", "elsewhere", "no network has the zone elsewhere"),
        ("vm_host_with_copies", "vm_container_zpool", "a'b", 'zpool "a\'b" is not valid'),
        ("vm_host_with_copies", "vm_container_zpool_disks", "", "must be one or two disks"),
        ("vm_host_with_copies", "vm_container_zpool_disks", "/dev/a /dev/a", "must be one or two disks"),
        ("vm_host_with_copies", "vm_container_zpool_disks", "/dev/a; reboot", "must be one or two disks"),
        (
            "vm_host",
            "vm_hugepages",
            "2M:1 $(reboot)",
            "the attribute vm_hugepages of host vmc-0-0 cannot have",
        ),
        ("vm_host", "packaging", "brew", "packaging 'brew', which is deb or rpm"),
        ("vm_host", "imgstorage-workers", "many", "the attributes of host vmc-0-0 are not valid"),
    ],
)
def test_an_invalid_attribute_makes_no_script(case: str, attribute: str, value: str, message: str) -> None:
    site = CASES[case]
    attributes = {**site.host.attributes, attribute: value}
    with pytest.raises(StateError) as caught:
        profile(replace(site, host=replace(site.host, attributes=attributes)))
    assert message in str(caught.value)


def test_a_frontend_runs_the_image_daemon_of_a_host_where_its_attribute_says_so() -> None:
    """Tools that prepare images map them to the frontend."""
    site = CASES["frontend"]
    attributes = {**site.host.attributes, "img_storage_vm": "true"}
    script = profile(replace(site, host=replace(site.host, attributes=attributes)))
    assert "rocks_service rocks-imgstorage-host.service" in script and " open-iscsi " in script
    assert "rocks-imgstorage-host" not in profile(site)
    assert storage_roles(attributes) == {names.FRONTEND, names.HOST}


def test_invalid_records_of_devices_are_a_task_for_the_operator_and_no_file() -> None:
    site = CASES["vm_host"]
    broken = replace(site.host.interfaces[0], device="eth0'; $(reboot) #")
    script = profile(replace(site, host=replace(site.host, interfaces=(broken,))))
    assert "rocks_warn 'eth0" in script
    assert "rocks_file /etc/systemd/network/" not in script


def test_an_attribute_with_quotes_and_ends_of_documents_stays_in_its_file() -> None:
    site = CASES["vm_host"]
    evil = "x'\n\"$(reboot)\nROCKS-END-1\nROCKS-END-2\n<&>"
    attributes = {**site.host.attributes, "Kickstart_PrivateHostname": evil, "arch": evil, "kvm": evil}
    script = profile(replace(site, host=replace(site.host, attributes=attributes)))
    (line,) = [line for line in script.splitlines() if "$(reboot)" in line]
    before, after = script.split(line)
    assert before.endswith("rocks_content <<'ROCKS-END-1'\n")
    assert after.startswith("\nROCKS-END-1\nrocks_file /etc/imgstorage.conf")
