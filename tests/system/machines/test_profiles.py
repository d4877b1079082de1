"""`rocks sync host profile`: each host runs its own script, and one that is away is named."""

from rocks.fleet.fleet import RUN_SCRIPT
from tests.system.machines.site import NEW, OLD, MachineSite


def test_profiles_run_on_their_hosts(machines: MachineSite) -> None:
    machines.hosts[OLD].outputs[RUN_SCRIPT] = f"{OLD}: changed: package x installed\nother\n".encode()
    ended = machines.rocks(f"sync host profile {OLD} {NEW}")
    assert ended.status == 0 and sorted(ended.out.splitlines()) == sorted(
        (f"{OLD}: package x installed", f"{NEW}: unchanged")
    )
    for name in (OLD, NEW):
        assert machines.hosts[name].inputs == [machines.run(f"report host profile {name}").encode()]

    machines.vanish(NEW)
    ended = machines.rocks(f"sync host profile {OLD} {NEW}")
    assert ended.status != 0 and ended.out == f"{OLD}: package x installed\n"
    assert f"host {NEW} cannot be asked: " in ended.err


def test_a_profile_that_fails_is_printed_up_to_its_error(machines: MachineSite) -> None:
    """Its error says that one is reported, and the reported one was on the host alone."""
    machines.hosts[OLD].outputs[RUN_SCRIPT] = (
        f"{OLD}: changed: file /etc/x\n{OLD}: node a begins (post)\n".encode()
    )
    lines = [f"Warning: {OLD}: the distribution is not served", *(f"line {number}" for number in range(40))]
    lines += ["E: Unable to locate package x", f"Error: {OLD}: apt-get did not install x"]
    machines.hosts[OLD].failures[RUN_SCRIPT] = (1, "".join(f"{line}\n" for line in lines).encode())
    ended = machines.rocks(f"sync host profile {OLD} {NEW}")
    assert ended.status == 3
    assert sorted(ended.out.splitlines()) == sorted((f"{OLD}: file /etc/x", f"{NEW}: unchanged"))
    printed = ended.err.splitlines()
    assert printed[:2] == [f"Warning: {OLD}: the distribution is not served", f"{OLD}: line 11"], printed
    assert printed[-2] == f"{OLD}: E: Unable to locate package x"
    assert printed[-1].endswith("apt-get did not install x"), printed
    machines.hosts[OLD].failures[RUN_SCRIPT] = (7, b"")
    machines.hosts[OLD].outputs[RUN_SCRIPT] = b""
    ended = machines.rocks(f"sync host profile {OLD}")
    assert (ended.status, ended.out) == (1, "") and f"host {OLD}: exit status 7" in ended.err
