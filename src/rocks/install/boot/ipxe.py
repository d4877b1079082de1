"""Scripts of iPXE that decide what a host boots. Pure. Source: the iPXE project's documentation of its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.inventory.records import BootAction

_LOCAL = "localboot"
_MAC = "${netX/mac:hexhyp}"
"""Of the interface that was opened last: that which booted."""

HOSTS, FIRST_STAGE_FOLDER = "hosts", "installer"
"""Folders for TFTP: the hosts' scripts; kernel and initial file systems of the installer."""

KERNEL, INSTALLER_IMAGE, SITE_IMAGE = FIRST_STAGE = ("vmlinuz", "installer.img", "site.img")
FIRST_STAGE_PATH = "/install/boot/"
"""Where plain HTTP has the three files."""


def first_script() -> str:
    """The script of every machine: it executes that of the machine, and else lets the firmware go on."""
    return _script(
        "every machine",
        f"chain --autofree {HOSTS}/{_MAC}.ipxe || echo There is no boot file for the address {_MAC}",
        "exit",
    )


def host_script_name(mac: str) -> str:
    """The file of a host's script, as its machine asks for it."""
    return f"{mac.lower().replace(':', '-')}.ipxe"


def local_script(host: str) -> str:
    """Boot from the first disk; UEFI goes on with the next entry of its own list."""
    return _script(
        f"{host}: local disk",
        "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 ||",
        "exit",
    )


def installer_script(host: str, server: str, plan: str, arguments: str) -> str:
    """Start the roll's installer; a file that cannot be fetched is tried again until it is there.

    `server` is the frontend's address, `plan` the plan's, `arguments` those of the installed kernel, for the console.
    """
    given = (
        f" initrd={INSTALLER_IMAGE} initrd={SITE_IMAGE} rocks.plan={plan} BOOTIF=01-{_MAC}"
        f"{' ' + arguments if arguments else ''}"
    )
    return _script(
        f"{host}: installation",
        ":again",
        "imgfree",
        _fetch("kernel", server, KERNEL, given),
        _fetch("initrd", server, INSTALLER_IMAGE),
        _fetch("initrd", server, SITE_IMAGE),
        "boot || goto failed",
        ":failed",
        "echo The installer cannot be fetched or started. On the frontend: rocks sync config",
        "sleep 10",
        "goto again",
    )


def action_script(host: str, server: str, recipe: BootAction, arguments: str) -> str:
    """Boot what a boot action names; its kernel may be `localboot N`. Paths are those of the server's TFTP."""
    kernel = (recipe.kernel or "").strip()
    if not kernel or kernel.lower().startswith(_LOCAL):
        return local_script(host)
    ramdisk = (recipe.ramdisk or "").strip()
    parts = (
        f"kernel {_place(server, kernel)}",
        arguments,
        f"initrd={ramdisk.rpartition('/')[2]}" if ramdisk else "",
    )
    return _script(
        f"{host}: action {recipe.action}",
        " ".join(part for part in parts if part),
        *([f"initrd {_place(server, ramdisk)}"] if ramdisk else []),
        "boot",
    )


def _fetch(command: str, server: str, name: str, arguments: str = "") -> str:
    """By HTTP, which is fast, else by TFTP."""
    ways = (f"http://{server}{FIRST_STAGE_PATH}{name}", f"tftp://{server}/{FIRST_STAGE_FOLDER}/{name}")
    return " || ".join([*(f"{command} {way}{arguments}" for way in ways), "goto failed"])


def _place(server: str, path: str) -> str:
    return path if "://" in path else f"tftp://{server}/{path.lstrip('/')}"


def _script(title: str, *lines: str) -> str:
    return "\n".join(["#!ipxe", f"# {title}. The frontend rewrites this file.", *lines, ""])
