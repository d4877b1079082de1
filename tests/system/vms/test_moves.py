"""`rocks move host vm`: a stopped machine moves to another host with its disk, on real hosts."""

import random

from tests.system.vms.site import HOSTS, IMAGES, ThreeMachines

OLD, NEW = HOSTS
VM = "vm-move-0"


def test_a_machine_moves_with_its_disk(site: ThreeMachines) -> None:
    """What else holds, and a death at every step: tests/system/machines."""
    site.started(VM, OLD)
    site.done(f"stop host vm {VM}")
    old, new = (site.machines[host].outside(f"{IMAGES}/{VM}.vda") for host in HOSTS)
    content = random.Random(1).randbytes(3_000_000)
    with old.open("r+b") as file:
        file.seek(700_000_000)
        file.write(content)
    printed = site.done(f"move host vm {VM} {NEW}")
    assert f"{VM} is on {NEW} now" in printed and f"the old copy of {VM} on {OLD} is removed" in printed
    assert not old.exists() and not new.with_name(f"{new.name}.moving").exists()
    assert new.stat().st_size == 1000**3 and new.stat().st_blocks * 512 < 5_000_000
    with new.open("rb") as file:
        file.seek(700_000_000)
        assert file.read(len(content)) == content
    site.done(f"start host vm {VM}")
    assert site.running(VM) == [NEW]
    site.done(f"stop host vm {VM}")
    site.done(f"move host vm {VM} {OLD}")
    assert old.exists() and not new.exists()
