"""libvirt's daemon on a machine of the lab: local socket only, state of its own, guests unprivileged."""

from __future__ import annotations

import os
import stat
import time
import uuid
from pathlib import Path

from lab.accounts import ensure_account
from lab.namespace import Machine, last_line
from lab.processes import ProcessIdentity, command_name, end, identify
from rocks.core.errors import ToolError

QEMU_OWNER = 64055
"""Number of the unprivileged user that guests run as: the one Debian's libvirt uses, though no account is needed."""

_ACCOUNT = "libvirt-qemu"
_URI = "qemu:///system"
_LOG_FOLDER = "/var/log/libvirt/qemu"
_KVM = Path("/dev/kvm")
_POLKIT_AGENT = Path("/usr/bin/pkttyagent")
_START_DEADLINE_SECONDS = 60.0
_STOP_GRACE_SECONDS = 10.0
_LINKS_DEADLINE_SECONDS = 5.0
_PROBE_SECONDS = 5.0

_DAEMON_CONFIGURATION = """\
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
host_uuid = "{uuid}"
"""

# No mount namespaces of QEMU's own: they would need a second set of device nodes.
_QEMU_CONFIGURATION = """\
security_driver = "none"
user = "+{owner}"
group = "+{owner}"
stdio_handler = "logd"
namespaces = []
cgroup_controllers = []
"""


def start(machine: Machine, kvm_works: bool) -> None:
    """Start virtlogd and libvirtd on a running machine and wait until libvirtd answers.

    Without working KVM the device is hidden: libvirt 9.0 takes 76 s for each start of a guest when /dev/kvm is there
    and does not work, 0.3 s when it is not. ToolError when the daemon does not answer in time.
    """
    _write_configuration(machine)
    # libvirt 9.0 looks its compiled-in default user and group up before it reads that we configure numbers, and does
    # not start without them. Debian's libvirt-daemon-system makes them; here they exist inside the machine only.
    ensure_account(machine, _ACCOUNT, QEMU_OWNER)
    _cover_kvm(machine, kvm_works)
    _cover_polkit_agent(machine)
    machine.start_daemon("virtlogd", ["/usr/sbin/virtlogd", "--pid-file", "/run/libvirt/virtlogd.pid"])
    machine.start_daemon("libvirtd", ["/usr/sbin/libvirtd", "--pid-file", "/run/libvirt/libvirtd.pid"])
    _wait_until_it_answers(machine)


def is_running(machine: Machine) -> bool:
    """Whether both daemons run."""
    return all(machine.daemon(name) is not None for name in ("virtlogd", "libvirtd"))


def guests(machine: Machine) -> dict[str, ProcessIdentity]:
    """Guests that run on the machine by libvirt's own record: name → QEMU's process."""
    members = machine.members_by_number()
    found = {}
    for record in machine.outside("/run/libvirt/qemu").glob("*.pid"):
        text = record.read_text(encoding="ascii", errors="replace").strip()
        # A stale record may have the number of another process, and one record is libvirtd's own.
        process = members.get(int(text)) if text.isdecimal() else None
        if process is not None and command_name(process.process_id).startswith("qemu"):
            found[record.stem] = process
    return found


def is_guest(machine: Machine, name: str) -> bool:
    """Whether a guest of that name runs on the machine, by the same record."""
    record = machine.outside(f"/run/libvirt/qemu/{name}.pid")
    try:
        number = int(record.read_text(encoding="ascii"))
        is_qemu = machine.inside(f"/proc/{number}/comm").read_text(encoding="utf-8").startswith("qemu")
    except (OSError, ValueError):
        return False
    return is_qemu and identify(number, machine.inside("/proc")) is not None


def stop(machine: Machine) -> list[str]:
    """End the guests, then the daemons; returns a line for each thing done."""
    running = guests(machine)
    end(running.values(), _STOP_GRACE_SECONDS)
    if running and machine.daemon("libvirtd") is not None:
        _wait_until_noticed(machine)
    done = [f"ended the guest {name}" for name in sorted(running)]
    for name in ("libvirtd", "virtlogd"):
        if machine.stop_daemon(name, _STOP_GRACE_SECONDS):
            done.append(f"ended {name}")
    return done


def _write_configuration(machine: Machine) -> None:
    machine.outside(_LOG_FOLDER).mkdir(mode=0o700, exist_ok=True)  # Debian's package brings it
    folder = machine.outside("/etc/libvirt")
    daemon = folder / "libvirtd.conf"
    if not daemon.exists():
        daemon.write_text(_DAEMON_CONFIGURATION.format(uuid=uuid.uuid4()), encoding="ascii")
    (folder / "qemu.conf").write_text(_QEMU_CONFIGURATION.format(owner=QEMU_OWNER), encoding="ascii")
    # As a host's node file links it: the agent's hook refuses a domain whose lease was taken over.
    hook = folder / "hooks" / "qemu.d" / "rocks"
    hook.parent.mkdir(parents=True, exist_ok=True)
    if not hook.is_symlink():
        hook.symlink_to("/opt/rocks/libexec/rocks-libvirt-hook")


def _cover_kvm(machine: Machine, kvm_works: bool) -> None:
    """Give the machine a /dev/kvm that guests may open exactly when KVM works."""
    if not _KVM.exists():
        return
    cover = machine.folder / ("kvm-open" if kvm_works else "kvm-hidden")
    if not cover.exists():
        if kvm_works:
            # The distribution gives the device to a group, and our guests' user is in none: a node of their own.
            os.mknod(cover, stat.S_IFCHR | 0o600, _KVM.stat().st_rdev)
            cover.chmod(0o666)
        else:
            cover.touch(mode=0o000)
            cover.chmod(0o000)
    machine.cover(cover, str(_KVM))


def _cover_polkit_agent(machine: Machine) -> None:
    """Hide the program that virsh starts on a terminal: without a system bus inside it only prints a warning."""
    if _POLKIT_AGENT.exists():
        cover = machine.folder / "no-program"
        cover.touch(mode=0o000)
        machine.cover(cover, str(_POLKIT_AGENT))


def _wait_until_it_answers(machine: Machine) -> None:
    end_at = time.monotonic() + _START_DEADLINE_SECONDS
    error = ""
    while time.monotonic() < end_at:
        daemon = machine.daemon("libvirtd")
        if daemon is None or identify(daemon.process_id) is None:
            reason = last_line(machine.log_folder / "libvirtd.log")
            raise ToolError(f"libvirtd ended while it was starting: {reason}")
        try:
            answer = machine.run(["/usr/bin/virsh", "--quiet", "--connect", _URI, "uri"], _PROBE_SECONDS)
        except ToolError as late:  # libvirtd accepts connections before it answers
            error = str(late)
            continue
        if answer.exit_status == 0:
            return
        error = answer.error_text
        time.sleep(0.05)
    raise ToolError(f"libvirtd does not answer after {_START_DEADLINE_SECONDS:g} s: {error}")


def _wait_until_noticed(machine: Machine) -> None:
    """libvirtd removes a guest's network devices when it notices its end; its records of running guests go then."""
    records = machine.outside("/run/libvirt/qemu")
    end_at = time.monotonic() + _LINKS_DEADLINE_SECONDS
    while any(records.glob("*.xml")) and time.monotonic() < end_at:
        time.sleep(0.02)
