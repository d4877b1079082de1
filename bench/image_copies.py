"""R18: an image of the library is copied to a host, and by `qemu-img convert` there, from `qemu-nbd` on the frontend.

Every way begins with a new SSH connection, leaves holes where the image has them, and ends with the file on the disk.
"""

from __future__ import annotations

import os
import time

from bench.image_to_ssh import build_image
from bench.service import free_port, listens, program, wait
from bench.site import SSH_PORT, STATE, BenchSite
from bench.table import Row, without_goal
from bench.timing import in_turns, run_seconds, typical
from lab.demos.image_demo import find_image
from lab.namespace import IMAGE_FOLDER
from rocks.core.image_blocks import Content, content_of
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.openssh import ssh_arguments
from rocks.fleet.wire.requests import BaseImage, base_path
from rocks.library.streams import send_image

ROUNDS = 3
WHAT = "a copy of an image of the library to a host / by `qemu-img convert` over NBD through SSH"
PLAIN_WHAT = "a copy of an image of the library to a host / by `qemu-img convert` over NBD, not encrypted"
_HOST = "copied-to"
_FILE = f"{IMAGE_FOLDER}/converted.img"
_NBD = ("/usr/bin/qemu-nbd", "--read-only", "--persistent", "--shared=2", "--bind=127.0.0.1", "--format=raw")


def measure(site: BenchSite) -> list[Row]:
    """Debian's image, to the first real host, without delay. RocksError when it is not copied."""
    build_image()
    image = find_image(STATE / "guest" / "debian")
    machine, ssh, _ = site.hosts[0]
    known = site.folder / _HOST
    known.write_text(f"{_HOST} {ssh.host_key}\n", encoding="ascii")
    host = HostAddress(_HOST, ssh.address, SSH_PORT)
    settings = FleetSettings(str(site.public_key.with_suffix("")), str(known))
    port, far_port = free_port(), free_port()

    def ours() -> float:
        begin = time.perf_counter()
        send_image(host, settings, base, file.fileno())
        seconds = time.perf_counter() - begin
        machine.outside(base_path(base)).unlink()
        return seconds

    def converted(from_port: int, *options: str) -> float:
        _, *login = ssh_arguments(host, settings, options)
        source = f"nbd://127.0.0.1:{from_port}"
        remote = f"qemu-img convert -f raw -O raw {source} {_FILE} && sync {_FILE}"
        seconds = run_seconds(["/usr/bin/ssh", *login, remote], os.environ)
        machine.outside(_FILE).unlink()
        return seconds

    def by_ssh() -> float:
        return converted(far_port, "-o", "ExitOnForwardFailure=yes", "-R", f"{far_port}:127.0.0.1:{port}")

    with image.open("rb") as file:
        content = content_of(file.fileno())
        base = BaseImage(IMAGE_FOLDER, content.digest, content.size_bytes, content.used_bytes)
        with program([*_NBD, f"--port={port}", str(image)], os.environ, site.folder / "qemu-nbd.log"):
            wait(lambda: listens(port), "qemu-nbd")
            taken = in_turns([ours, by_ssh, lambda: converted(port)], ROUNDS)
    return rows(content, *(typical(seconds) for seconds in taken))


def rows(content: Content, ours: float, by_ssh: float, plain: float) -> list[Row]:
    """The rows, of the image and the seconds of each way."""
    image = f"{content.used_bytes / 1e6:.0f} MB of {content.size_bytes / 1e9:.1f} GB"
    how = (
        f"{image}, medians of {ROUNDS}, in turns, until it is on the host's disk; ours goes through SSH, and the host "
        "compares its digest"
    )
    return [
        without_goal("R18", what, f"{ours / theirs:.2f}", f"{ours:.2f} s / {theirs:.2f} s, {how}")
        for what, theirs in ((WHAT, by_ssh), (PLAIN_WHAT, plain))
    ]
