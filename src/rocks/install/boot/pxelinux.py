"""Configuration files of pxelinux. Source: the Syslinux project's documentation of its configuration files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rocks.inventory.records import BootAction

_LOCAL = "localboot"


def pxelinux_file(host: str, recipe: BootAction, arguments: str) -> str:
    """The file for a boot action, whose kernel may be `localboot N` instead of a file."""
    kernel = (recipe.kernel or "").strip()
    if kernel.lower().startswith(_LOCAL):
        lines = [f"localboot {kernel[len(_LOCAL) :].strip() or '0'}"]
    else:
        ramdisk = f"initrd={recipe.ramdisk}" if recipe.ramdisk else ""
        append = " ".join(part for part in (arguments, ramdisk) if part)
        lines = [f"kernel {kernel}", *([f"append {append}"] if append else [])]
    return "\n".join(
        [
            f"# {host}: action {recipe.action}. `rocks set host boot` rewrites this file.",
            "default rocks",
            "prompt 0",
            "label rocks",
            *(f"  {line}" for line in lines),
            "",
        ]
    )
