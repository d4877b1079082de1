"""The parts of the lab's machines, built from Debian's packages: root tree, kernel, ZFS modules, image, QEMU."""
