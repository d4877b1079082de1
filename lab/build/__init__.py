"""What the lab's machines are made of, built from Debian's packages: root tree, kernel, ZFS modules, image, QEMU."""
