"""A volume's latest snapshot, sent by hand: `zfs send`, socat and `zfs receive`, with nothing of ours between them."""

from __future__ import annotations

from bench.images.site import HOST_POOL, NAS, POOL, ImageSite, wait_until
from lab.machines.machine import LabMachine

REFERENCE = "reference"
"""The volume of the host that receives, and the unit of each program in the background."""

_PAIR, _AUTHORITY = "/etc/rocks/pki/node.pem", "/etc/rocks/pki/ca.crt"
_PORT = 7999
BLOCK_BYTES = 131072
"""The block size of socat; its default of 8 KiB would make the reference slow."""

_FILES = f"cert={_PAIR},cafile={_AUTHORITY}"
_SECONDS = 120


def snapshot_stream(volume: str) -> str:
    """The shell's words that write the stream of an image's latest snapshot, on its NAS."""
    listed = f"zfs list -H -o name -t snapshot -s createtxg {POOL}/{volume} | tail -n 1"
    return f"zfs send -L -e -c $({listed})"


def start_sending(site: ImageSite, volume: str, with_tls: bool = True, buffer: str = "") -> None:
    """Have the NAS wait for a host that receives; `buffer` is a program before the connection, with its pipe."""
    listen = f"TCP-LISTEN:{_PORT},reuseaddr"
    if with_tls:
        listen = listen.replace("TCP", "OPENSSL") + f",{_FILES}"
    send = f"{snapshot_stream(volume)} | {buffer}socat -u -b {BLOCK_BYTES} - {listen}\n"
    site.nas.start_program(REFERENCE, ["bash", "-c", send])
    wait_until(lambda: _listens(site.nas), "socat to listen", 30)


def receiving(site: ImageSite, with_tls: bool = True, buffer: str = "") -> str:
    """The shell's words that receive it on the host, from the connection to the end of `zfs receive`."""
    connect = f"TCP:{site.nas.description.address}:{_PORT}"
    if with_tls:
        connect = connect.replace("TCP", "OPENSSL") + f",{_FILES},commonname={NAS}"
    return f"socat -u -b {BLOCK_BYTES} {connect} - | {buffer}zfs receive -s -u {HOST_POOL}/{REFERENCE}"


def _listens(machine: LabMachine) -> bool:
    return f":{_PORT}" in machine.run(["ss", "-H", "-l", "-t", "-n"]).text
