"""R7: the space of clones of a golden image on the NAS."""

from __future__ import annotations

from bench.images.site import GOLDEN, POOL, ImageSite
from bench.table import Found, at_most

LIMIT = 1.05
WHAT = "space of 4 clones on the NAS / of one"
_CLONES = [f"clone-{number}" for number in range(1, 5)]
_BYTES_PER_MIB = 2**20


def measure(site: ImageSite) -> Found:
    """The space of the golden image with its clones, as ZFS counts it, after one clone and after four."""
    site.add_clone(_CLONES[0])
    one = _used(site, _CLONES[:1])
    for clone in _CLONES[1:]:
        site.add_clone(clone)
    four = _used(site, _CLONES)
    how = (
        f"{four / _BYTES_PER_MIB:.2f} MiB / {one / _BYTES_PER_MIB:.2f} MiB, the golden image included; "
        "made by `rocks add host storageimg origin=`"
    )
    return Found([at_most("R7", WHAT, four / one, LIMIT, "", how)])


def _used(site: ImageSite, clones: list[str]) -> int:
    site.nas.run(["zpool", "sync", POOL])
    names = [f"{POOL}/{name}" for name in (GOLDEN, *clones)]
    answer = site.nas.run(["zfs", "get", "-H", "-p", "-o", "value", "used", *names]).text
    return sum(int(value) for value in answer.split())
