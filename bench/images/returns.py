"""R5: bytes written back when an image returns, over bytes changed; also when the host's daemon is killed."""

from __future__ import annotations

import threading

from bench.images.site import HOST_POOL, NAS, POOL, ImageSite, wait_until
from bench.table import Found, at_most
from lab.machines import image_storage
from rocks.core.errors import RocksError, ToolError

LIMIT, KILL_LIMIT = 1.05, 1.10
WHAT = "bytes returned / bytes changed"
KILL_WHAT = "the same, the host's daemon killed in the middle of the stream"

_VOLUME = "changed"
_BLOCK_BYTES = 16384
"""As large as the volume's own blocks: a smaller change moves a whole block."""

_EVERY = 3
_KILL_EVERY = 2
_KILL_AT = 0.25
_BYTES_PER_MIB = 2**20


def measure(site: ImageSite) -> Found:
    """Blocks of random data all over the disk; all bytes received on the NAS's cable are counted."""
    site.add_clone(_VOLUME)
    changed = _change(site, _EVERY)
    before = site.moved()
    site.unmap(_VOLUME)
    written_back = site.moved().since(before).received
    _compare(site)

    killed_changed = _change(site, _KILL_EVERY)
    before = site.moved()
    _unmap_and_kill(site, int(killed_changed * _KILL_AT))
    killed_write_back = site.moved().since(before).received
    _compare(site)
    rows = [
        at_most("R5", WHAT, written_back / changed, LIMIT, "", _how(written_back, changed)),
        at_most(
            "R5",
            KILL_WHAT,
            killed_write_back / killed_changed,
            KILL_LIMIT,
            "",
            _how(killed_write_back, killed_changed),
        ),
    ]
    return Found(rows)


def _change(site: ImageSite, every: int) -> int:
    device = site.map(_VOLUME)
    site.wait_until_local(site.host, _VOLUME)
    arguments = (device, str(_BLOCK_BYTES), str(every), "1")
    return int(site.run_own_program(site.host, "scattered_writes", *arguments, deadline_seconds=120))


def _unmap_and_kill(site: ImageSite, at_bytes: int) -> None:
    """Kill the host's daemon when that much is written back; systemd restarts it, and it continues."""
    begin = site.moved()
    failures: list[RocksError] = []

    def unmap() -> None:
        try:
            site.unmap(_VOLUME)
        except RocksError as error:
            failures.append(error)

    waiting = threading.Thread(target=unmap, daemon=True)
    waiting.start()
    wait_until(
        lambda: site.moved().since(begin).received >= at_bytes, "the changes to be on their way", 60, 0.02
    )
    site.host.run(["systemctl", "kill", "--signal=KILL", image_storage.unit_of(site.host)])
    if site.state(_VOLUME) == "unmapped":
        raise ToolError(f"{_VOLUME} was written back before the daemon could be killed")
    waiting.join(timeout=180)
    if failures or waiting.is_alive():
        raise ToolError(
            f"{_VOLUME} was not written back: {failures[0] if failures else 'no error was reported'}"
        )


def _compare(site: ImageSite) -> None:
    """ToolError unless both sides hold the same bytes now."""
    here = site.nas.run(["sha256sum", f"/dev/zvol/{POOL}/{_VOLUME}"], 60).text.split()[0]
    there = site.host.run(["sha256sum", f"/dev/zvol/{HOST_POOL}/{_VOLUME}"], 60).text.split()[0]
    if here != there:
        raise ToolError(f"{_VOLUME} on {NAS} differs from the volume on {site.host.name}")


def _how(written_back: int, changed: int) -> str:
    return (
        f"{written_back / _BYTES_PER_MIB:.2f} MiB into the NAS's cable / "
        f"{changed / _BYTES_PER_MIB:.2f} MiB changed in blocks "
        f"of {_BLOCK_BYTES // 1024} KiB; headers, TLS and messages included"
    )
