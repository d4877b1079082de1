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
