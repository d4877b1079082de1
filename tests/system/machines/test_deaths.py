"""A command or a host's agent dies between any two effects; the same command, or its opposite, then completes."""

import pytest

from tests.system.machines.site import NEW, OLD, MachineSite


@pytest.mark.slow
@pytest.mark.parametrize("dying_host", [None, OLD])
@pytest.mark.parametrize("after", ["start", "stop"])
def test_a_start(machines: MachineSite, dying_host: str | None, after: str) -> None:
    vm = machines.add("cut")
    for _ in machines.deaths(f"start host vm {vm}", dying_host):
        if machines.running(vm):
            assert machines.lease(vm)[1:] in (("starting", OLD), ("running", OLD)), (
                "the intent is on record first"
            )
        if after == "start":
            ended = machines.rocks(f"start host vm {vm}")
            assert ended.status == 0 or "is already running" in ended.err, ended
            assert machines.running(vm) == [OLD] and machines.lease(vm)[1:] == ("running", OLD)
        machines.run(f"stop host vm {vm}")
        check_is_off(machines, vm)
        assert [name for name in machines.files(OLD) if name != "cut.vda"] == [], (
            "no part of an image is left"
        )
    assert machines.running(vm) == [OLD] and machines.lease(vm)[1:] == ("running", OLD)


@pytest.mark.slow
@pytest.mark.parametrize("dying_host", [None, OLD])
@pytest.mark.parametrize("after", ["start", "stop"])
def test_a_stop(machines: MachineSite, dying_host: str | None, after: str) -> None:
    vm = machines.started("halted")
    for _ in machines.deaths(f"stop host vm {vm}", dying_host):
        if machines.running(vm):
            assert machines.lease(vm)[2] == OLD
        if after == "stop":
            machines.run(f"stop host vm {vm}")
            check_is_off(machines, vm)
        ended = machines.rocks(f"start host vm {vm}")
        if "was stopped or taken over in the meantime" in ended.err:
            # its host has ended the lease but not yet the guest; a stop completes that
            assert after == "start" and machines.running(vm) == [OLD]
            machines.run(f"stop host vm {vm}")
            machines.run(f"start host vm {vm}")
        else:
            assert ended.status == 0 or "already running" in ended.err, ended
        assert machines.running(vm) == [OLD] and machines.lease(vm)[1:] == ("running", OLD)
    check_is_off(machines, vm)


@pytest.mark.parametrize("dying_host", [None, OLD])
def test_a_save_and_a_restore(machines: MachineSite, dying_host: str | None) -> None:
    vm = machines.started("kept")
    token = machines.lease(vm)[0]
    for _ in machines.deaths(f"save host vm {vm}", dying_host):
        machines.run(f"save host vm {vm}")
        assert machines.lease(vm) == (token, "saved", OLD) and machines.running(vm) == []
        machines.run(f"restore host vm {vm}")
        assert machines.running(vm) == [OLD] and machines.lease(vm) == (token, "running", OLD)
    for _ in machines.deaths(f"restore host vm {vm}", dying_host):
        ended = machines.rocks(f"restore host vm {vm}")
        assert ended.status == 0 or "is not saved, by its lease it is running" in ended.err, ended
        assert machines.running(vm) == [OLD] and machines.lease(vm) == (token, "running", OLD)
        machines.run(f"save host vm {vm}")
    assert machines.lease(vm) == (token, "running", OLD)


@pytest.mark.slow
def test_a_move(machines: MachineSite) -> None:
    """After each death the machine starts on one of the hosts, with its content."""
    vm = machines.started("mover")
    machines.run(f"stop host vm {vm}")
    machines.write("mover.vda", b"content", OLD)
    for _ in machines.deaths(f"move host vm {vm} {NEW}"):
        machines.run(f"start host vm {vm}")
        (now,) = machines.running(vm)
        assert now == machines.place(vm) and machines.read("mover.vda", now) == b"content"
        machines.run(f"stop host vm {vm}")
        ended = machines.rocks(f"move host vm {vm} {NEW}")
        assert ended.status == 0 or f"is on {NEW} already" in ended.err, ended
        assert machines.place(vm) == NEW and machines.files(OLD) == []
        assert machines.read("mover.vda", NEW) == b"content"
        machines.run(f"move host vm {vm} {OLD}")
        assert machines.place(vm) == OLD and machines.files(NEW) == []
    assert machines.sql("SELECT COUNT(*) FROM vm_disk_copies") == [(0,)]


def check_is_off(machines: MachineSite, vm: str) -> None:
    """No host has the domain or its network devices, and the lease is released."""
    assert machines.lease(vm)[1:] == ("released", None)
    assert [machines.state(host, vm) for host in machines.hosts] == [None] * 3
    assert [machines.links(host) for host in machines.hosts] == [[]] * 3
