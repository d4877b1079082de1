"""The small real Linux guest of demo and tests: Debian's kernel, a busybox initramfs, on a disk of its own."""
