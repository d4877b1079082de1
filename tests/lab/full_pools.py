"""Pools of machines that are filled and emptied, by a reservation: for ZFS that is the same as data."""

from lab.machines.machine import LabMachine

_JUNK = "junk"
_SECONDS = 60.0


def leave_free(machine: LabMachine, left_mb: int) -> None:
    """Fill the machine's pool up to `left_mb` megabytes, whatever it was filled to before."""
    pool = machine.description.pool
    machine.shell(
        f"zfs list {pool}/{_JUNK} >/dev/null 2>&1 || zfs create -o mountpoint=none {pool}/{_JUNK}\n"
        f"zfs set reservation=none {pool}/{_JUNK}\n"
        "zpool sync\n"
        f"free=$(zfs list -H -p -o available {pool})\n"
        f"zfs set reservation=$(( free - {left_mb << 20} )) {pool}/{_JUNK}\n",
        _SECONDS,
    )


def free_space(machine: LabMachine) -> None:
    """Take away again what fills the pool."""
    machine.shell(f"zfs destroy {machine.description.pool}/{_JUNK}\n", _SECONDS)
