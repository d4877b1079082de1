"""The configuration files of pxelinux."""

from rocks.install.boot.actions import pxelinux_file
from rocks.inventory.records import BootAction

_HEAD = (
    "# compute-0-0: action {}. `rocks set host boot` rewrites this file.\n"
    "default rocks\nprompt 0\nlabel rocks\n"
)


def test_local_boot() -> None:
    text = pxelinux_file("compute-0-0", BootAction("os", "localboot 0", None, None), "")
    assert text == _HEAD.format("os") + "  localboot 0\n"


def test_kernel_with_ramdisk_and_arguments() -> None:
    recipe = BootAction("install", "vmlinuz", "initrd.img", "ks")
    text = pxelinux_file("compute-0-0", recipe, "ks ip=10.1.255.254")
    assert (
        text == _HEAD.format("install") + "  kernel vmlinuz\n  append ks ip=10.1.255.254 initrd=initrd.img\n"
    )


def test_a_program_without_arguments() -> None:
    text = pxelinux_file("compute-0-0", BootAction("memtest", "memtest86", None, None), "")
    assert text == _HEAD.format("memtest") + "  kernel memtest86\n"
