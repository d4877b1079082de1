# shellcheck shell=dash
# shellcheck disable=SC2154 # plan_… are set by plan.sh
# Partitions, arrays and file systems. Every disk has a partition for the BIOS's and one for UEFI's boot loader, so that it
# starts under both; then come those of the plan.

BIOS_MIB=1
EFI_MIB=256
SMALLEST_ROOT_MIB=2048
SMALLEST_REST_MIB=16
BIOS_TYPE=21686148-6449-6E6F-744E-656564454649
EFI_TYPE=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
LINUX_TYPE=0FC63DAF-8483-4772-8E79-3D69D8477DE4
SWAP_TYPE=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F
RAID_TYPE=A19D880F-05FC-4D3B-A006-743F0F84911E

# needed_mib: the least size of a disk for the plan: the partitions, one MiB before them and one behind.
needed_mib() {
  total=$((1 + BIOS_MIB + EFI_MIB + 1))
  while read -r _ size _ path; do
    if [ "$size" = rest ]; then
      size=$SMALLEST_REST_MIB
      [ "$path" != / ] || size=$SMALLEST_ROOT_MIB
    fi
    total=$((total + size))
  done <"$WORK/plan.partitions"
  echo $total
}

is_mirrored() { [ "$(wc -l <"$WORK/disks")" -eq 2 ]; }

# rest_mib: what a partition of the size rest gets, from the smaller of the disks.
rest_mib() {
  left=''
  while read -r name; do
    size=$(disk_mib "$name")
    [ -n "$left" ] && [ "$left" -le "$size" ] || left=$size
  done <"$WORK/disks"
  left=$((left - 1 - BIOS_MIB - EFI_MIB - 1))
  while read -r _ size _; do [ "$size" = rest ] || left=$((left - size)); done <"$WORK/plan.partitions"
  echo $left
}

# suffix DISK: names of partitions on the second disk end with -2, so that each is known by its name.
suffix() { [ "$1" = "$(head -n 1 "$WORK/disks")" ] || printf '%s' -2; }

# layout DISK: the partitions that the disk will have, a line each: START SIZE NAME TYPE, in sectors of the disk.
layout() {
  per_mib=$((1048576 / $(sector_bytes "$1")))
  second=$(suffix "$1")
  start=1
  rest=$(rest_mib)
  {
    echo "bios $BIOS_MIB $BIOS_TYPE"
    echo "efi $EFI_MIB $EFI_TYPE"
    while read -r name size kind _; do
      [ "$size" != rest ] || size=$rest
      type=$LINUX_TYPE
      [ "$kind" != swap ] || type=$SWAP_TYPE
      [ "$kind" = none ] || ! is_mirrored || type=$RAID_TYPE
      echo "$name $size $type"
    done <"$WORK/plan.partitions"
  } | while read -r name size type; do
    echo "$((start * per_mib)) $((size * per_mib)) $name$second $type"
    start=$((start + size))
  done
}

# is_same_layout DISK: whether its table has exactly these partitions already.
is_same_layout() { [ "$(layout "$1" | cut -d' ' -f1-3)" = "$(table_of "$DEV/$1")" ]; }

# set_mark DISK TEXT: one sector, so that it is written whole or not at all.
set_mark() {
  printf 'rocks-install %s %s\n' "$2" "$plan_installation" >"$WORK/mark"
  truncate -s 512 "$WORK/mark"
  dd if="$WORK/mark" of="$DEV/$1" bs=512 seek=$((MARK_OFFSET / 512)) conv=notrunc,fsync 2>"$WORK/dd.log" ||
    fail "the disk $1 cannot be written: $(tail -n 1 "$WORK/dd.log")"
}

# write_table DISK: from here on the disk is this installation's, and starts no earlier system. If the table is the plan's
# already, it stays, and with it the partitions that the plan leaves alone.
write_table() {
  disk=$1
  device=$DEV/$disk
  same=no
  ! is_same_layout "$disk" || same=yes
  set_mark "$disk" begun
  # The boot code of an earlier system must not start a half-made one.
  set_boot_code "$device"
  if [ $same = yes ]; then
    say "the disk $disk has the plan's partitions already; those of the plan with the file system none stay as they are"
    return
  fi
  wipe_partitions "$disk"
  # All but the mark: an interrupted run is recognised by it.
  dd if=/dev/zero of="$device" bs=512 count=$((MARK_OFFSET / 512)) conv=notrunc,fsync 2>/dev/null ||
    fail "the disk $disk cannot be written"
  run_wipefs --quiet --all --force "$device" || fail "the old contents of the disk $disk cannot be removed"
  {
    echo 'label: gpt'
    layout "$disk" | while read -r start size name type; do
      echo "start=$start, size=$size, type=$type, name=\"$name\""
    done
  } >"$WORK/table.new"
  run_sfdisk --quiet --wipe always --wipe-partitions always "$device" <"$WORK/table.new" 2>"$WORK/sfdisk.log" ||
    fail "the disk $disk cannot be partitioned: $(tail -n 1 "$WORK/sfdisk.log")"
  set_boot_code "$device"
}

# set_boot_code DEVICE: the BIOS goes on to its next boot device (int 18h). It takes zeros for a program, and would stand still.
set_boot_code() {
  printf '\315\030' >"$WORK/boot-code"
  truncate -s 440 "$WORK/boot-code"
  dd if="$WORK/boot-code" of="$1" bs=440 count=1 conv=notrunc,fsync 2>/dev/null || fail "the disk $1 cannot be written"
}

# Signatures inside old partitions would appear again where a new partition begins at the same place.
wipe_partitions() {
  bytes=$(sector_bytes "$1")
  table_of "$DEV/$1" | while read -r start size _; do
    for place in "$start" $((start + size - 1048576 / bytes)); do
      dd if=/dev/zero of="$DEV/$1" bs="$bytes" seek="$place" count=$((1048576 / bytes)) conv=notrunc,fsync 2>/dev/null || true
    done
  done
}

# partition DISK NUMBER: its device. The kernel puts a p between a digit and the number.
partition() {
  case $1 in
    *[0-9]) printf '%s' "$DEV/$1p$2" ;;
    *) printf '%s' "$DEV/$1$2" ;;
  esac
}

# wait_for DEVICE: for up to a minute, which slow machines take.
wait_for() {
  tries=0
  until [ -b "$1" ]; do
    tries=$((tries + 1))
    [ $tries -le 600 ] || fail "the device $1 did not appear after the disk was partitioned"
    usleep 100000
  done
}

# make_file_systems: writes $WORK/mounts, a line for each partition of the plan that is used: KIND PATH DEVICE.
make_file_systems() {
  : >"$WORK/mounts"
  while read -r disk; do
    wait_for "$(partition "$disk" 2)"
    make_one vfat "EFI$(suffix "$disk" | tr -d -)" "$(partition "$disk" 2)"
  done <"$WORK/disks"
  number=2
  while read -r name _ kind path; do
    number=$((number + 1))
    [ "$kind" != none ] || continue
    device=$(device_of "$name" $number)
    make_one "$kind" "$name" "$device"
    printf '%s %s %s\n' "$kind" "$path" "$device" >>"$WORK/mounts"
  done <"$WORK/plan.partitions"
}

# device_of NAME NUMBER: the partition, or the array of both disks' partitions.
device_of() {
  members=''
  while read -r disk; do
    wait_for "$(partition "$disk" "$2")"
    members="$members $(partition "$disk" "$2")"
  done <"$WORK/disks"
  if ! is_mirrored; then
    printf '%s' "${members# }"
    return
  fi
  array=$DEV/md$(($2 - 3))
  # shellcheck disable=SC2086 # two words
  run_mdadm --zero-superblock --force $members >/dev/null 2>&1 || true
  # shellcheck disable=SC2086
  yes | run_mdadm --create "$array" --run --level=1 --raid-devices=2 --metadata=1.2 --bitmap=internal --homehost=any \
    --name="$1" $members >"$WORK/mdadm.log" 2>&1 ||
    fail "the array for the partition $1 cannot be made of$members: $(tail -n 1 "$WORK/mdadm.log")"
  wait_for "$array"
  printf '%s' "$array"
}

# make_one KIND LABEL DEVICE
make_one() {
  case $1 in
    ext4) is_kept_file_system "$2" "$3" || run_mke2fs -q -F -t ext4 -L "$2" -E lazy_itable_init=1,lazy_journal_init=1 "$3" ;;
    swap) run_mkswap --quiet --force --label "$2" "$3" ;;
    vfat) run_mkfs_vfat -F 32 -n "$2" "$3" ;;
  esac >"$WORK/mkfs.log" 2>&1 || fail "no $1 file system can be made on $3: $(tail -n 1 "$WORK/mkfs.log")"
}

# is_kept_file_system LABEL DEVICE: whether the answers keep this partition, and it has a file system already.
is_kept_file_system() {
  case " ${KEEP-} " in *" $1 "*) ;; *) return 1 ;; esac
  status=0
  type=$(run_blkid --probe --output value --match-tag TYPE "$2" 2>/dev/null) || status=$?
  [ "$status" -ne 2 ] || return 1 # blkid(8): nothing is there
  [ "$type" = ext4 ] || fail "the partition $1 has no ext4 but ${type:-several file systems}, and cannot be kept: it is as it was"
  say "the partition $1 stays as it is"
}

# mount_target: the file systems below $TARGET, outer ones before inner ones.
mount_target() {
  mkdir -p "$TARGET"
  grep '^ext4 ' "$WORK/mounts" | sort -k2,2 | while read -r _ path device; do
    mkdir -p "$TARGET$path"
    mount -t ext4 "$device" "$TARGET$path" || fail "$device cannot be mounted for $path"
  done || exit 1
}
