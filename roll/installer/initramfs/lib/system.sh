# shellcheck shell=dash
# shellcheck disable=SC2154 # plan_… are set by plan.sh
# The system on the disk: the root archive, and what differs between hosts.

# unpack_archive: fetched, unpacked and its checksum computed in one pass. No boot loader is written before the checksum is
# known to be right, so a damaged archive leaves a disk that does not start.
unpack_archive() {
  rm -f "$WORK/sum" "$WORK/failed"
  mkfifo "$WORK/sum"
  sha256sum <"$WORK/sum" >"$WORK/digest" &
  summing=$!
  watch_unpacking >/dev/null 2>&1 &
  watching=$!
  {
    fetch "$plan_archive" --tries=3 --timeout=60 -O - 2>"$WORK/fetch.log" || echo fetch >>"$WORK/failed"
  } | tee "$WORK/sum" | {
    run_zstd --decompress --stdout --quiet 2>"$WORK/zstd.log" || echo zstd >>"$WORK/failed"
    # what follows the damage is read, too: else it is the fetching that fails
    cat >/dev/null
  } | {
    run_tar --extract --preserve-permissions --numeric-owner --xattrs --xattrs-include='*' --directory "$TARGET" --file - \
      2>"$WORK/tar.log" || echo tar >>"$WORK/failed"
    cat >/dev/null
  }
  kill "$watching" 2>/dev/null || true
  wait "$summing" || true
  digest=$(cut -d' ' -f1 "$WORK/digest")
  if grep -q fetch "$WORK/failed" 2>/dev/null; then
    fail "the root archive $plan_archive could not be fetched: $(tail -n 1 "$WORK/fetch.log"). Is the frontend's web service there?"
  fi
  if [ "$digest" != "$plan_archive_sha256" ]; then
    fail "the root archive $plan_archive is damaged: its SHA-256 is $digest, and the plan says $plan_archive_sha256. ${ARCHIVE_ADVICE:-Build it again with make installer, or correct the plan}"
  fi
  [ ! -s "$WORK/failed" ] ||
    fail "the root archive could not be unpacked: $(cat "$WORK/zstd.log" "$WORK/tar.log" | tail -n 1). Is the partition for / large enough?"
}

watch_unpacking() {
  while sleep 15; do stage unpacking "$(df -Pm "$TARGET" | awk 'NR == 2 { print $3 }') MB"; done
}

# write_fstab: by UUID, since names of disks change. The EFI partition is mounted when something reads it: the start does not
# wait for it, and it may be missing from a mirrored disk.
write_fstab() {
  while read -r kind path device; do
    uuid=$(run_blkid --probe --output value --match-tag UUID "$device")
    case $kind in
      swap) echo "UUID=$uuid none swap sw 0 0" ;;
      *) [ "$path" = / ] && echo "UUID=$uuid / ext4 errors=remount-ro 0 1" || echo "UUID=$uuid $path ext4 defaults 0 2" ;;
    esac
  done <"$WORK/mounts" >"$TARGET/etc/fstab"
  uuid=$(run_blkid --probe --output value --match-tag UUID "$(partition "$(head -n 1 "$WORK/disks")" 2)")
  echo "UUID=$uuid /boot/efi vfat umask=0077,noauto,x-systemd.automount,x-systemd.idle-timeout=60 0 1" >>"$TARGET/etc/fstab"
  mkdir -p "$TARGET/boot/efi"
}

# write_arrays: by their identities, so that the profile of a host of image storage has mdadm assemble these alone (node
# img-storage-scans).
write_arrays() {
  is_mirrored || return 0
  run_mdadm --detail --scan >"$WORK/arrays" 2>"$WORK/mdadm.log" || true
  grep -q '^ARRAY ' "$WORK/arrays" ||
    fail "the arrays of this host cannot be listed: $(tail -n 1 "$WORK/mdadm.log")"
  cat "$WORK/arrays" >>"$TARGET/etc/mdadm/mdadm.conf"
}

# write_names: the host's name and address, its name servers.
write_names() {
  printf '%s\n' "$plan_host" >"$TARGET/etc/hostname"
  address=$(head -n 1 "$WORK/plan.interfaces" | cut -d' ' -f3)
  printf '127.0.0.1 localhost\n%s %s%s\n' "${address%/*}" "${plan_domain:+$plan_host.$plan_domain }" "$plan_host" \
    >"$TARGET/etc/hosts"
  {
    [ -z "$plan_domain" ] || echo "search $plan_domain"
    sed 's/^/nameserver /' "$WORK/plan.nameservers"
  } >"$TARGET/etc/resolv.conf"
}

# write_network: for systemd-networkd. A device gets its name by the adapter's own address, which VLAN devices above it
# do not have; addresses belong to names.
write_network() {
  folder=$TARGET/etc/systemd/network
  mkdir -p "$folder"
  gateway=$plan_gateway
  # by this line a profile finds the files of a device that the host no longer has
  mark='# Written by Rocks, which removes it when the host no longer has the device.'
  while read -r device mac address mtu; do
    adapter=${device%%.*}
    printf '%s\n[Match]\nPermanentMACAddress=%s\n\n[Link]\nName=%s\nMTUBytes=%s\n' "$mark" "$mac" "$adapter" "$mtu" >"$folder/10-$adapter.link"
    printf '%s\n[Match]\nName=%s\n\n[Network]\nAddress=%s\nLinkLocalAddressing=no\n' "$mark" "$device" "$address" >"$folder/10-$device.network"
    # The gateway belongs to the interface on whose network it is; of a frontend, this is the second.
    if [ -n "$gateway" ] && is_inside "$gateway" "$address"; then
      printf 'Gateway=%s\n' "$gateway" >>"$folder/10-$device.network"
      gateway=''
    fi
  done <"$WORK/plan.interfaces"
  # a VLAN's adapter may have an address of its own
  grep '^[^ ]*\.' "$WORK/plan.interfaces" | while read -r device _; do
    adapter=${device%.*}
    printf '%s\n[NetDev]\nName=%s\nKind=vlan\n\n[VLAN]\nId=%s\n' "$mark" "$device" "${device##*.}" >"$folder/10-$device.netdev"
    [ -e "$folder/10-$adapter.network" ] ||
      printf '%s\n[Match]\nName=%s\n\n[Network]\nLinkLocalAddressing=no\n' "$mark" "$adapter" >"$folder/10-$adapter.network"
    printf 'VLAN=%s\n' "$device" >>"$folder/10-$adapter.network"
  done
}

# number_of ADDRESS: as one number.
number_of() { echo "$1" | tr . ' ' | { read -r a b c d && echo $(((a << 24) + (b << 16) + (c << 8) + d)); }; }

# is_inside ADDRESS NETWORK-ADDRESS/LENGTH
is_inside() {
  mask=$((0xffffffff << (32 - ${2#*/}) & 0xffffffff))
  [ $(($(number_of "$1") & mask)) -eq $(($(number_of "${2%/*}") & mask)) ]
}

# write_keys: root's authorised keys, and SSH keys of this host alone.
write_keys() {
  mkdir -p "$TARGET/root/.ssh"
  chmod 700 "$TARGET/root/.ssh"
  cp "$WORK/plan.keys" "$TARGET/root/.ssh/authorized_keys"
  chmod 600 "$TARGET/root/.ssh/authorized_keys"
  inside ssh-keygen -A >"$WORK/keys.log" 2>&1 || fail "the host's SSH keys cannot be made: $(tail -n 1 "$WORK/keys.log")"
  report host-key "$(cut -d' ' -f1,2 "$TARGET/etc/ssh/ssh_host_ed25519_key.pub")" || true
}

# write_first_boot: the service that fetches the host's profile and runs it.
write_first_boot() {
  folder=$TARGET/etc/rocks/installation
  mkdir -p "$folder/no-authorities"
  # who has the addresses in it gets the profile, and reports for this host
  chmod 700 "$folder"
  cp "$SITE/ca.pem" "$folder/ca.pem"
  printf '%s\n' "$plan_installation" >"$folder/installation"
  printf '%s\n' "$plan_progress" >"$folder/progress"
  # systemd's clock is never before this; without it, the site's certificates are not yet valid where a clock has no battery
  [ ! -s "$SITE/time" ] || touch -d "@$(cat "$SITE/time")" "$TARGET/usr/lib/clock-epoch" || true
  [ -n "$plan_profile" ] || return 0
  printf '%s\n' "$plan_profile" >"$folder/profile"
  cp "$FILES/first-boot" "$folder/first-boot"
  chmod 755 "$folder/first-boot"
  cp "$FILES/rocks-first-boot.service" "$TARGET/etc/systemd/system/rocks-first-boot.service"
  inside systemctl --quiet enable rocks-first-boot.service || fail "the service of the first boot cannot be enabled"
}

# inside PROGRAM…: in the new system. chroot hands its own PATH on, which lacks /usr/sbin.
inside() { PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$TARGET" "$@"; }

# install_boot_loader: GRUB for BIOS and for UEFI on each disk. UEFI finds it at the path for removable media, so nothing is
# written to the firmware's own memory, and the order of boot devices stays.
install_boot_loader() {
  for part in proc sys dev; do
    mount -o bind "/$part" "$TARGET/$part" || fail "/$part cannot be mounted in the new system"
  done
  link_uuids
  terminal=console
  case " $plan_kernel_arguments" in *' console=ttyS'*) terminal='console serial' ;; esac
  printf '%s\n' 'GRUB_DISTRIBUTOR=Debian' 'GRUB_DEFAULT=0' 'GRUB_TIMEOUT=1' 'GRUB_DISABLE_OS_PROBER=true' \
    'GRUB_CMDLINE_LINUX_DEFAULT=""' "GRUB_CMDLINE_LINUX=\"$plan_kernel_arguments\"" "GRUB_TERMINAL=\"$terminal\"" \
    'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"' >"$TARGET/etc/default/grub"
  # The first disk comes last, so that its EFI partition stays mounted.
  sed '1!G;h;$!d' "$WORK/disks" >"$WORK/disks.reversed"
  while read -r disk <&3; do
    ! grep -q " $TARGET/boot/efi " /proc/mounts || umount "$TARGET/boot/efi"
    mount -t vfat "$(partition "$disk" 2)" "$TARGET/boot/efi" || fail "the EFI partition of $disk cannot be mounted"
    loader grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram --no-uefi-secure-boot
    loader grub-install --target=i386-pc --no-floppy "/dev/$disk"
  done 3<"$WORK/disks.reversed"
  # grub-install has made the folder /boot/grub.
  loader update-grub
}

# link_uuids: update-grub names the root file system by its UUID only where udev's link for it exists, and here is no udev.
link_uuids() {
  mkdir -p "$DEV/disk/by-uuid"
  while read -r _ _ device; do
    ln -sf "$device" "$DEV/disk/by-uuid/$(run_blkid --probe --output value --match-tag UUID "$device")"
  done <"$WORK/mounts"
}

loader() { inside "$@" >"$WORK/grub.log" 2>&1 || fail "$1 failed: $(tail -n 3 "$WORK/grub.log" | tr '\n' ' ')"; }

# leave_target: everything on the disks.
leave_target() {
  sync
  cut -d' ' -f2 /proc/mounts | grep "^$TARGET" | sort -r >"$WORK/mounted"
  while read -r place; do umount "$place" || fail "$place cannot be unmounted"; done <"$WORK/mounted"
  ! is_mirrored || run_mdadm --stop --scan >"$WORK/mdadm.log" 2>&1 || say "an array was not stopped: $(tail -n 1 "$WORK/mdadm.log")"
  sync
}
