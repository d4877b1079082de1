"""`rocks set host power`: a BMC (ipmi_sim of OpenIPMI, asked by ipmitool), a site's program, virtual machines."""

import os
import shutil
import subprocess  # noqa: TID251 - a program that runs beside the test
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run
from tests.system.commands.conftest import Site
from tests.waiting import wait_until

PASSWORD = "a-secret"  # noqa: S105
LAN = """\
name "bmc"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 623
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{control} 0x20"
  user 1 true  ""        ""    user     10  none md2 md5 straight
  user 2 true  "admin"   "{password}" admin    10  none md2 md5 straight
"""
CONTROL = """\
#!/bin/sh
# ipmi_sim calls: get PARAMETER, set PARAMETER VALUE; the state is a file
shift
case $1 in
  get)
    shift
    for name; do
      case $name in
        power) echo "power:$(cat {state})" ;;
        boot) echo boot:default ;;
        *) echo "$name:0" ;;
      esac
    done ;;
  set)
    shift
    while [ $# -gt 1 ]; do
      echo "$1 $2" >>{log}
      [ "$1" != power ] || echo "$2" >{state}
      shift 2
    done ;;
  check) ;;
esac
exit 0
"""


@pytest.fixture
def bmc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A simulated BMC on port 623 of this network namespace; the folder of its state (`power`) and `log`.

    ipmitool gets its cipher suite: it would ask for it, which ipmi_sim does not answer, and wait for ten seconds.
    """
    if shutil.which("ipmi_sim") is None or shutil.which("ipmitool") is None:
        pytest.skip("ipmi_sim (package openipmi) or ipmitool is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ipmitool").write_text(f'#!/bin/sh\nexec {shutil.which("ipmitool")} -C 3 "$@"\n')
    (tmp_path / "bin/ipmitool").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "power").write_text("0\n")
    (tmp_path / "log").write_text("")
    control = tmp_path / "control"
    control.write_text(CONTROL.format(state=tmp_path / "power", log=tmp_path / "log"))
    control.chmod(0o755)
    (tmp_path / "lan.conf").write_text(LAN.format(control=control, password=PASSWORD))
    (tmp_path / "bmc.emu").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"
    )
    arguments = ["ipmi_sim", "-n", "-c", tmp_path / "lan.conf", "-f", tmp_path / "bmc.emu", "-s", tmp_path]
    with (tmp_path / "output").open("wb") as output:
        simulator = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        status = ["ipmitool", "-I", "lanplus", "-H", "127.0.0.1", "-U", "admin", "-P", PASSWORD]

        def answers() -> bool:
            assert simulator.poll() is None, (tmp_path / "output").read_text()
            return run([*status, "chassis", "power", "status"], deadline_seconds=30).exit_status == 0

        wait_until(answers)
        yield tmp_path
    finally:
        simulator.kill()
        simulator.wait()


@pytest.fixture
def machine(vm_site: Site) -> Site:
    """The site with `compute-0-0`, whose BMC is at 127.0.0.1."""
    vm_site.done("add host compute-0-0")
    vm_site.done("set host attr compute-0-0 ipmi_address 127.0.0.1")
    vm_site.change(
        "INSERT INTO sec_node_attributes (Node, Attr, Value) SELECT ID, 'ipmi_password', %s FROM nodes"
        " WHERE Name = 'compute-0-0'",
        [PASSWORD],
    )
    return vm_site


def test_a_bmc_switches_its_host(machine: Site, bmc: Path) -> None:
    machine.done("set host power compute-0-0 action=on")
    assert (bmc / "power").read_text() == "1\n"
    machine.done("set host power compute-0-0 action=on")
    machine.done("set host power compute-0-0 action=off")
    assert (bmc / "power").read_text() == "0\n"
    machine.done("set host power compute-0-0 action=install")
    assert (bmc / "power").read_text() == "1\n"
    assert machine.done("list host boot compute-0-0") == "ACTION \ninstall\n"


def test_a_wrong_password_is_an_error_without_it(machine: Site, bmc: Path) -> None:
    machine.change("UPDATE sec_node_attributes SET Value = 'wrong-one'")
    ended = machine.rocks("set host power compute-0-0 action=on")
    assert ended.status == 1 and "command failed" in ended.err and "wrong-one" not in ended.err
    assert (bmc / "power").read_text() == "0\n"


def test_a_program_of_the_site_gets_action_and_host(machine: Site, tmp_path: Path) -> None:
    program, log = tmp_path / "pdu", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$COLOUR $*" >>{log}\n[ "$3" != vmc-0-1 ] || exit 1\n')
    program.chmod(0o755)
    machine.change(
        "INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', %s)",
        [f"COLOUR=red {program} outlet"],
    )
    machine.done("set host power compute-0-0 action=install")
    ended = machine.rocks("set host power vmc-0-0 vmc-0-1 action=on")
    assert ended.status == 3 and "vmc-0-1" in ended.err and "vmc-0-0" not in ended.err
    lines = log.read_text().splitlines()
    assert lines[0] == "red outlet cycle compute-0-0"
    assert sorted(lines[1:]) == ["red outlet on vmc-0-0", "red outlet on vmc-0-1"]


def test_a_host_that_is_not_switched_is_installed_at_its_next_boot_and_the_error_says_so(
    machine: Site,
) -> None:
    """It was found at the next restart, which somebody made for another reason."""
    machine.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', '/bin/false')")
    ended = machine.rocks("set host power compute-0-0 action=install")
    remedy = "its next boot installs it: repeat this, or rocks set host boot compute-0-0 action=os"
    assert ended.status == 1 and ended.err.rstrip().endswith(remedy), ended
    assert machine.done("list host boot compute-0-0") == "ACTION \ninstall\n"
    assert "next boot" not in machine.rocks("set host power compute-0-0 action=on").err


def test_nothing_is_switched_when_one_host_cannot_be(machine: Site) -> None:
    assert "invalid action" in machine.refused("set host power compute-0-0 action=reset")
    assert "ipmi_address" in machine.refused("set host power compute-0-0 vmc-0-0 action=on")
    machine.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', '/bin/true')")
    assert "is this frontend" in machine.refused("set host power head action=off")


def test_a_host_with_machines_stays_on(machine: Site) -> None:
    machine.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', '/bin/true')")
    machine.take_lease("web", "vmc-0-0")
    assert "web, which would lose its power" in machine.refused("set host power vmc-0-0 action=off")
    machine.done("set host power vmc-0-0 action=on")
    machine.done("set host power vmc-0-0 action=off force=yes")


def test_the_nas_of_machines_that_run_stays_on(machine: Site) -> None:
    machine.change("INSERT INTO sec_global_attributes (Attr, Value) VALUES ('power_command', '/bin/true')")
    machine.done("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=9")
    machine.done("add host vm vmc-0-0 vmc-0-1 compute")
    machine.done("set host vm nas compute-0-0-0 compute-0-1-0 nas=nas-0-0 zpool=tank")
    machine.done("set host power nas-0-0 action=off")
    machine.take_lease("compute-0-0-0", "vmc-0-0")
    refused = machine.refused("set host power nas-0-0 action=install")
    assert "compute-0-0-0 may be running on vmc-0-0, and has a disk on the NAS nas-0-0: switching" in refused
    assert machine.done("list host boot nas-0-0") != "ACTION \ninstall\n"
    machine.take_lease("compute-0-1-0", "vmc-0-1")
    assert (
        "on the NAS nas-0-0 (so does another machine): switching nas-0-0 off takes the disk away; rocks stop"
        in machine.refused("set host power nas-0-0 action=off")
    )
    machine.done("set host power vmc-0-0 nas-0-0 action=on")
    machine.done("set host power nas-0-0 action=off force=yes")


def test_a_virtual_machine_is_started_and_stopped_on_its_host(machine: Site) -> None:
    """There is no key to its host here, which the error says."""
    machine.done("add host vm vmc-0-0 compute name=web")
    for action in ("on", "off"):
        ended = machine.rocks("set host power web", f"action={action}")
        assert ended.status == 1 and "no SSH key" in ended.err, ended
