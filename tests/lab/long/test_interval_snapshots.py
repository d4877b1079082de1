"""Two guests write while the NAS pulls a snapshot of each disk in every interval, on real devices.

Both guests count, on their disks and on their consoles.
"""

import json
import time

from lab.machines import sample_image
from lab.machines.sample_cluster import GUESTS
from tests.lab.image_site import GUEST, NAS, ImageSite

SUBJECTS = ("src/rocks/storage",)

_PERIOD_SECONDS = 30
_SECONDS = 600
_NEWEST = """\
volume=tank/{0}-vol
[ $(zfs get -H -o value snapdev $volume) = visible ] || zfs set snapdev=visible $volume
name=$(zfs list -H -o name -t snapshot -s createtxg $volume | tail -n 1)
[ $name != "{1}" ] || exit 0
for try in $(seq 50); do [ -e /dev/zvol/$name ] && break; sleep 0.1; done
echo $name
python3 /root/verifier.py /dev/zvol/$name at-least={2} || true
"""


class _Copies:
    """The snapshots of one guest's disk on the NAS, each judged once."""

    def __init__(self, images: ImageSite, guest: str, host: str) -> None:
        self.images, self.guest, self.host = images, guest, host
        self.newest, self.counts = "", [0]
        self.written: list[tuple[float, int]] = []
        self.oldest_seconds = 0.0

    def look(self) -> None:
        """Judge the newest snapshot bit for bit, if it is new; note for how long the NAS has lacked a count."""
        self.written.append((time.monotonic(), self.images.site.count(self.host, self.guest)))
        found = self.images.nas.shell(_NEWEST.format(self.guest, self.newest, self.counts[-1] + 1), 120)
        if found.strip():
            self.newest, _, report = found.strip().partition("\n")
            assert report, f"the verifier printed nothing about {self.newest}"
            judged = json.loads(report)
            assert judged["good"], f"{self.newest}: {report}"
            self.counts.append(judged["count"])
        self.written = [(moment, count) for moment, count in self.written if count > self.counts[-1]]
        if self.written:
            self.oldest_seconds = max(self.oldest_seconds, time.monotonic() - self.written[0][0])


def test_each_snapshot_on_the_nas_is_whole_and_none_is_late(images: ImageSite) -> None:
    """Each has every count up to its own, and more than the one before; none is older than two periods (R34)."""
    site = images.site
    for guest, host in GUESTS.items():
        if guest != GUEST:
            sample_image.put(site.lab, site.frontend, guest)
        site.done("set", "host", "zvolattr", NAS, f"{guest}-vol", "frequency", str(_PERIOD_SECONDS))
        site.start(guest)
        site.wait_for_count(host, guest, beyond=0)
    for guest in GUESTS:
        images.wait_for_state("mapped", volume=f"{guest}-vol")  # until the image is local, nothing is pulled
    time.sleep(2 * _PERIOD_SECONDS)
    copies = [_Copies(images, guest, host) for guest, host in GUESTS.items()]
    begin = time.monotonic()
    while time.monotonic() < begin + _SECONDS:
        for copy in copies:
            copy.look()
        time.sleep(1)
    for copy in copies:
        taken = len(copy.counts) - 1
        print(
            f"{copy.guest}: {taken} snapshots with {copy.counts[1]} to {copy.counts[-1]} counts, period "
            f"{_PERIOD_SECONDS} s; a count was on no snapshot for {copy.oldest_seconds:.0f} s at most"
        )
        assert taken >= _SECONDS / (2 * _PERIOD_SECONDS)
        assert 0 < copy.oldest_seconds <= 2 * _PERIOD_SECONDS

    site.done("stop", "host", "vm", *GUESTS)
    for guest, host in GUESTS.items():
        volume, counted = f"{guest}-vol", site.count(host, guest)
        images.wait_for_state("unmapped", volume=volume)
        images.count_on_nas(counted, volume)
    assert [left for host in GUESTS.values() for left in images.leftovers(host)] == []
