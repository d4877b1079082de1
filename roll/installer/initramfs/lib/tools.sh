# shellcheck shell=dash
# Programs that are not busybox's. Busybox's shell prefers its own applets over PATH, so they are called by their paths.
# TOOLS is empty in the initramfs; tests set it to a folder of links to this machine's programs.

run_blkid() { "$TOOLS/sbin/blkid" "$@"; }
run_mdadm() { "$TOOLS/sbin/mdadm" "$@"; }
run_mke2fs() { "$TOOLS/sbin/mke2fs" "$@"; }
run_mkfs_vfat() { "$TOOLS/sbin/mkfs.vfat" "$@"; }
run_mkswap() { "$TOOLS/sbin/mkswap" "$@"; }
run_openssl() { "$TOOLS/bin/openssl" "$@"; }
run_sfdisk() { "$TOOLS/sbin/sfdisk" "$@"; }
run_tar() { "$TOOLS/bin/tar" "$@"; }
run_wget() { "$TOOLS/bin/wget" "$@"; }
run_wipefs() { "$TOOLS/sbin/wipefs" "$@"; }
run_zstd() { "$TOOLS/bin/zstd" "$@"; }
