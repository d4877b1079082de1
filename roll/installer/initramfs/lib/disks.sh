# shellcheck shell=dash
# shellcheck disable=SC2154 # plan_… are set by plan.sh
# Which disk is installed on, and whether it may be. Nothing here writes.
# SYS and DEV are /sys and /dev; tests set them to folders of their own.

# candidates: names of the disks that an installation may use at all: no removable, read-only, virtual or empty ones.
candidates() {
  for entry in "$SYS"/block/*; do
    disk=${entry##*/}
    case $disk in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtd*) continue ;; esac
    [ "$(cat "$entry/removable" 2>/dev/null || echo 0)" = 0 ] || continue
    [ "$(cat "$entry/ro" 2>/dev/null || echo 0)" = 0 ] || continue
    [ "$(cat "$entry/size" 2>/dev/null || echo 0)" -gt 0 ] || continue
    # nor the media of this installation: sticks may say that they are not removable
    ! grep -qsx "$disk" "$WORK/media" || continue
    printf '%s\n' "$disk"
  done
}

# disk_mib DISK: its size in MiB. The kernel counts in sectors of 512 bytes, whatever the disk's own.
disk_mib() { echo $(($(cat "$SYS/block/$1/size") / 2048)); }

# disk_serial DISK: of virtio, of NVMe, or of page 0x80 of a SCSI or ATA disk, whose text follows four bytes of header.
disk_serial() {
  for file in serial device/serial; do
    if [ -s "$SYS/block/$1/$file" ]; then
      tr -d ' \n\000' <"$SYS/block/$1/$file"
      return
    fi
  done
  [ ! -r "$SYS/block/$1/device/vpd_pg80" ] || tail -c +5 "$SYS/block/$1/device/vpd_pg80" | tr -d ' \n\000'
}

# describe_disks: one line for messages: "sda (500107 MiB, serial X), …".
describe_disks() {
  found=''
  for name in $(candidates); do
    found="$found${found:+, }$name ($(disk_mib "$name") MiB, serial $(disk_serial "$name"))"
  done
  printf '%s' "${found:-none}"
}

# matching_disks KIND [VALUE]: the disks that a line "disk" of the plan means; for smallest, in order of size, and of serial
# numbers: names may change at each start of a machine, and an interrupted installation goes on with the disks that it began on.
matching_disks() {
  for name in $(candidates); do
    case $1 in
      smallest) printf '%s %s %s\n' "$(disk_mib "$name")" "_$(disk_serial "$name" | tr -c '!-~' _)" "$name" ;;
      serial) [ "$(disk_serial "$name")" != "$2" ] || printf '0 - %s\n' "$name" ;;
      path)
        case $2 in
          /dev/*) [ "$name" != "${2#/dev/}" ] || printf '0 - %s\n' "$name" ;;
          *) case "$(readlink -f "$SYS/block/$name")/" in */"${2#pci-}"/*) printf '0 - %s\n' "$name" ;; esac ;;
        esac
        ;;
    esac
  done | LC_ALL=C sort -k1,1n -k2,2 -k3,3 | cut -d' ' -f3
}

# choose_disks NEEDED_MIB: writes the names of one disk or two to $WORK/disks. A disk is never chosen twice.
choose_disks() {
  : >"$WORK/disks"
  while read -r kind value; do
    choice=''
    count=0
    for name in $(matching_disks "$kind" "$value"); do
      if [ "$kind" = smallest ]; then
        [ "$(disk_mib "$name")" -ge "$1" ] || continue
        ! grep -qx "$name" "$WORK/disks" || continue
      fi
      count=$((count + 1))
      choice=${choice:-$name}
    done
    what="the disk \"$kind${value:+ $value}\" of the plan"
    [ -n "$choice" ] ||
      fail "$what is not there, or no disk has $1 MiB. This machine has: $(describe_disks). Correct the attribute install_disk or install_partitions of $plan_host"
    [ "$kind" = smallest ] || [ "$count" -eq 1 ] ||
      fail "$what is $count disks of this machine: $(describe_disks). Name one by its serial in the attribute install_disk of $plan_host"
    ! grep -qx "$choice" "$WORK/disks" || fail "both disks of the plan are $choice; correct the attribute install_disk of $plan_host"
    [ "$(disk_mib "$choice")" -ge "$1" ] ||
      fail "the disk $choice has $(disk_mib "$choice") MiB, and the plan needs $1; correct the attribute install_partitions of $plan_host"
    printf '%s\n' "$choice" >>"$WORK/disks"
  done <"$WORK/plan.disks"
}

# table_of DEVICE: its partitions, a line each: START SIZE NAME, in sectors of the disk; nothing without a table. A name is
# one word: other characters than those of our names become _, and a partition without a name is -.
table_of() {
  run_sfdisk --dump "$1" 2>/dev/null | awk '
    function number(key) { return match($0, key "= *[0-9]+") ? substr($0, RSTART + length(key) + 1, RLENGTH - length(key) - 1) + 0 : 0 }
    / start=/ {
      name = match($0, /name="[^"]*"/) ? substr($0, RSTART + 6, RLENGTH - 7) : "-"
      gsub(/[^A-Za-z0-9._-]/, "_", name)
      printf "%.0f %.0f %s\n", number("start"), number("size"), name == "" ? "-" : name
    }'
}

# sector_bytes DISK
sector_bytes() { cat "$SYS/block/$1/queue/logical_block_size" 2>/dev/null || echo 512; }

# signatures DEVICE [BLKID-ARGUMENTS…]: kinds of data that libblkid knows: file system, RAID or ZFS member, table.
signatures() {
  probed=$1
  shift
  {
    probe --match-tag TYPE --match-tag PTTYPE "$@" "$probed"
    # Several contradicting kinds have no TYPE, and a pool must be found among them, too.
    probe --match-types zfs_member --match-tag TYPE "$@" "$probed"
  } | sort -u
}

# Status 2 of blkid: nothing was found; 8: several kinds contradict each other, which is data as well.
probe() {
  status=0
  run_blkid --probe --output export "$@" >"$WORK/probe" 2>/dev/null || status=$?
  sed -n 's/^\(TYPE\|PTTYPE\)=//p' "$WORK/probe"
  [ "$status" -ne 8 ] || echo several-kinds-at-once
}

# content DISK: what is on it, a line each: PLACE KIND, where PLACE is "disk" or the partition's name.
# A disk without any known signature counts as empty only if its first MiB is all zeros.
content() {
  device=$DEV/$1
  bytes=$(sector_bytes "$1")
  for kind in $(signatures "$device"); do printf 'disk %s\n' "$kind"; done
  table_of "$device" >"$WORK/table.$1"
  while read -r start size name; do
    for kind in $(signatures "$device" --offset $((start * bytes)) --size $((size * bytes))); do
      printf '%s %s\n' "$name" "$kind"
    done
  done <"$WORK/table.$1"
  if [ ! -s "$WORK/table.$1" ] && [ -z "$(signatures "$device")" ] && [ "$(first_bytes "$device")" -gt 0 ]; then
    echo 'disk data-of-an-unknown-kind'
  fi
}

# Bytes other than zero in the first MiB, besides our own mark.
first_bytes() { head -c $MARK_OFFSET "$1" | tr -d '\000' | wc -c; }

# The last sector before the first partition, which neither the table nor a boot loader uses.
MARK_OFFSET=1048064

# mark_of DISK: "begun ID" or "done ID" of an earlier run of this installer; else nothing.
mark_of() {
  dd if="$DEV/$1" bs=512 skip=$((MARK_OFFSET / 512)) count=1 2>/dev/null | tr -d '\000' | head -n 1 |
    sed -n 's/^rocks-install \(\(begun\|done\) [0-9a-f]\{16\}\)$/\1/p'
}

# check_disk DISK: fails unless the disk may be written. It may be if it is empty, if the plan says overwrite, or if this
# same installation was interrupted on it, or between its end and that on the other disk. A ZFS pool is never overwritten; it stays where its partition stays.
check_disk() {
  content "$1" >"$WORK/content.$1"
  while read -r place kind; do
    [ "$kind" = zfs_member ] || continue
    if [ "$place" = disk ] || ! is_kept "$1" "$place"; then
      fail "the disk $1 has a ZFS pool ($place), which is never overwritten. If its data is not needed: zpool labelclear, from the shell of this console or from another system; or choose another disk with the attribute install_disk of $plan_host"
    fi
  done <"$WORK/content.$1"
  [ -s "$WORK/content.$1" ] || return 0
  [ "$plan_overwrite" = no ] || return 0
  case "$(mark_of "$1")" in
    "begun $plan_installation") return 0 ;;
    "done $plan_installation") is_complete || return 0 ;;
  esac
  fail "the disk $1 ($(disk_mib "$1") MiB, serial $(disk_serial "$1")) has data: $(tr '\n' ',' <"$WORK/content.$1" | sed 's/,$//; s/,/, /g'). If it is not needed: ${OVERWRITE_ADVICE:-rocks set host attr $plan_host install_overwrite yes}, and start the machine again"
}

# is_kept DISK NAME: whether the plan leaves the partition NAME alone, and the disk has the plan's partitions already.
is_kept() {
  is_same_layout "$1" && grep -q "^${2%-2} [^ ]* none -\$" "$WORK/plan.partitions"
}
