# shellcheck shell=dash
# shellcheck disable=SC2154,SC2034 # plan_… are set by plan.sh
# A frontend from a medium: finds the medium and the answers, makes a plan of them, and puts on the disk what the first boot
# needs. The plan is read by plan.sh, as a host's is.

MEDIUM=/medium
MEDIUM_LABEL=ROCKS_FRONTEND
SITE_LABEL=ROCKS_SITE # FAT has 11 characters
CMDLINE=/proc/cmdline
GIVEN=$WORK/site # what the site brings along: answers, attributes, keys, site-nodes, site-graphs, a passphrase

# medium_argument NAME: the value of the kernel's argument rocks.NAME.
medium_argument() { tr ' ' '\n' <"$CMDLINE" | sed -n "s/^rocks\.$1=//p" | tail -n 1; }

# block_devices: names of all disks and partitions, optical drives included.
block_devices() {
  for entry in "$SYS"/class/block/*; do
    case ${entry##*/} in loop* | ram* | zram* | dm-* | nbd* | md* | fd*) continue ;; esac
    [ "$(cat "$entry/size" 2>/dev/null || echo 0)" -gt 0 ] || continue
    printf '%s\n' "${entry##*/}"
  done
}

tag_of() { run_blkid --probe --output value --match-tag "$2" "$DEV/$1" 2>/dev/null | head -n 1; }

# disk_of DEVICE-NAME: its whole disk.
disk_of() {
  place=$(readlink -f "$SYS/class/block/$1")
  if [ -e "$place/partition" ]; then basename "$(dirname "$place")"; else printf '%s' "$1"; fi
}

# labelled LABEL: the device with it; nothing without one. Two disks with it end the installation. A hybrid ISO on a stick has
# its label on the disk and on the partition.
labelled() {
  for name in $(block_devices); do
    [ "$(tag_of "$name" LABEL)" != "$1" ] || echo "$(disk_of "$name") $name"
  done >"$WORK/labelled"
  [ "$(cut -d' ' -f1 "$WORK/labelled" | sort -u | wc -l)" -le 1 ] ||
    fail "there are several media with the label $1: $(cut -d' ' -f2 "$WORK/labelled" | tr '\n' ' '); leave one, and start the machine again"
  head -n 1 "$WORK/labelled" | cut -d' ' -f2
}

# find_medium: mounts it. Sticks take seconds to appear.
find_medium() {
  mkdir -p "$MEDIUM"
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    name=$(labelled "$MEDIUM_LABEL") || exit 1
    [ -z "$name" ] || break
    sleep 3
  done
  [ -n "$name" ] || fail "no disk, stick or drive has the medium $MEDIUM_LABEL. There are: $(block_devices | tr '\n' ' ')"
  mount -t iso9660 -o ro "$DEV/$name" "$MEDIUM" || fail "the medium $name cannot be mounted; make or copy it again"
  for file in SHA256SUMS system/root.tar.zst system/root.sha256 system/timezones frontend/install frontend/version; do
    [ -s "$MEDIUM/$file" ] || fail "the medium $name has no file $file: it is not whole; make or copy it again"
  done
  disk_of "$name" >>"$WORK/media"
  say "the medium is $name, version $(cat "$MEDIUM/frontend/version")"
}

# check_medium: every file of it.
check_medium() {
  say "reading the whole medium"
  (cd "$MEDIUM" && sha256sum -c SHA256SUMS) >"$WORK/sums" 2>/dev/null ||
    fail "the medium is damaged: $(grep -v ': OK$' "$WORK/sums" | head -n 5 | tr '\n' ' '); make or copy it again"
  end "the medium is whole: all $(wc -l <"$WORK/sums") files are as they were written"
}

# find_site: what the site brings along, from a second medium, else from the medium itself; with the answers among the
# kernel's arguments. False without any answer: then a person is asked.
find_site() {
  mkdir -p "$GIVEN" /site
  chmod 700 "$GIVEN"
  for _ in 1 2 3; do # sticks take seconds to appear
    name=$(labelled "$SITE_LABEL") || exit 1
    [ -z "$name" ] || break
    sleep 2
  done
  if [ -n "$name" ]; then
    mount -o ro "$DEV/$name" /site ||
      fail "the medium $SITE_LABEL ($name, $(tag_of "$name" TYPE)) cannot be mounted: make it with FAT, ext4 or as an ISO"
    [ -s /site/answers ] || fail "the medium $SITE_LABEL ($name) has no file named answers, or it is empty"
    disk_of "$name" >>"$WORK/media"
    say "answers: from $name"
    SITE_DEVICE=$name
    FROM=/site # it stays mounted: a saved site on it is copied to the disk, not to the memory
  else
    FROM=$MEDIUM/site
  fi
  for part in answers attributes keys site-nodes site-graphs passphrase; do
    [ ! -e "$FROM/$part" ] || cp -RL "$FROM/$part" "$GIVEN/" || fail "$part cannot be read from the medium $name"
  done
  for part in answers attributes; do
    [ ! -s "$GIVEN/$part" ] || { plain_text "$FROM/$part" >"$GIVEN/$part"; }
  done
  [ ! -s "$GIVEN/answers" ] || echo >>"$GIVEN/answers" # the last line may not end with one
  add_arguments
  [ -s "$GIVEN/answers" ]
}

# add_arguments: answers among the kernel's arguments, each in place of one in the file.
add_arguments() {
  tr ' ' '\n' <"$CMDLINE" | grep -E '^(Kickstart|install)_[A-Za-z_]*=' >"$WORK/arguments" || return 0
  touch "$GIVEN/answers"
  while IFS= read -r word; do
    sed -i "/^[ 	]*${word%%=*}[ 	]*=/d" "$GIVEN/answers"
    printf '%s = %s\n' "${word%%=*}" "${word#*=}" >>"$GIVEN/answers"
  done <"$WORK/arguments"
  say "answers: $(cut -d= -f1 "$WORK/arguments" | tr '\n' ' ')from the kernel's arguments"
}

# list_rolls: into $WORK/rolls, a line "KIND|PLACE|NAME" for each: ISO files in `rolls` of the medium, and on all other media;
# an ISO of rolls may be such a medium itself.
list_rolls() {
  for file in "$MEDIUM"/rolls/*.iso; do [ ! -f "$file" ] || echo "file|$file|${file##*/}"; done >"$WORK/rolls"
  for name in $(block_devices); do
    case $(tag_of "$name" LABEL) in "$MEDIUM_LABEL") continue ;; esac
    place=/media/$name
    if [ "$name" = "${SITE_DEVICE-}" ]; then
      place=$FROM # it is mounted, of whatever kind it is
    else
      # no file system of a disk with data: mounting one may write to it
      case $(tag_of "$name" TYPE) in iso9660 | vfat | udf) ;; *) continue ;; esac
      mkdir -p "$place"
      mount -o ro "$DEV/$name" "$place" 2>/dev/null || continue
    fi
    {
      for file in "$place"/*/*/*/roll-*.xml; do
        [ ! -f "$file" ] || { echo "device|$DEV/$name|$(basename "$file" .xml | sed s/^roll-//)-$name.iso" && break; }
      done
      for file in "$place"/*.iso "$place"/rolls/*.iso; do [ ! -f "$file" ] || echo "file|$file|${file##*/}"; done
    } >"$WORK/rolls.here"
    if [ -s "$WORK/rolls.here" ]; then
      cat "$WORK/rolls.here" >>"$WORK/rolls"
      disk_of "$name" >>"$WORK/media"
    elif [ "$place" != "${FROM-}" ]; then
      umount "$place"
    fi
  done
}

# names_of_roll PLACE NAME: by which install_rolls may name it; one that is a disc itself also without the drive.
names_of_roll() {
  base=${2%.iso}
  printf '%s\n' "$2" "$base" "${base%-"${1##*/}"}"
}

# read_iso DEVICE: the ISO on it, whose length in blocks is in its descriptor; a stick is larger.
read_iso() { dd if="$1" bs=2048 count="$(od -A n -t u4 -j 32848 -N 4 "$1" | tr -d ' ')" 2>/dev/null; }

# copy_rolls: those that are wanted, to the disk.
copy_rolls() {
  wanted=$(answer install_rolls all)
  while IFS='|' read -r kind place name; do
    if [ "$wanted" != all ]; then
      names_of_roll "$place" "$name" >"$WORK/roll.names"
      is_wanted=''
      while IFS= read -r one <&4; do
        case " $wanted " in *" $one "*) is_wanted=yes ;; esac
      done 4<"$WORK/roll.names"
      [ -n "$is_wanted" ] || continue
    fi
    [ ! -e "$STORE/rolls/$name" ] || continue
    stage rolls "$name"
    { if [ "$kind" = device ]; then read_iso "$place"; else cat "$place"; fi; } >"$STORE/rolls/$name" ||
      fail "$name cannot be copied to the disk: is /export large enough, and the medium whole?"
  done <"$WORK/rolls"
}

# copy_medium: what the first boot needs, so that the media may be taken out.
copy_medium() {
  STORE=$TARGET/export/rocks/medium
  rm -rf "$STORE" # of an earlier installation, where /export stays
  mkdir -p "$STORE/rolls"
  cp -R "$MEDIUM/frontend" "$STORE/" || fail "the medium cannot be copied to the disk: is /export large enough?"
  copy_rolls
  while [ -n "${ASKED-}" ] && ask_further_medium; do
    for place in /media/*; do umount "$place" 2>/dev/null || true; done
    list_rolls
    copy_rolls
  done
}

# write_frontend: the unit of the first boot, what the site brings along, and the ways in.
write_frontend() {
  folder=$TARGET/etc/rocks/installation
  mkdir -p "$folder"
  chmod 700 "$folder"
  rm -rf "$folder/site"
  mkdir "$folder/site"
  # passwords are no part of the site, and never on the disk
  grep -v '^install_root_password' "$WORK/answers" >"$folder/site/answers"
  for part in "$GIVEN/attributes" "$GIVEN/keys" "$GIVEN/site-nodes" "$GIVEN/site-graphs" "$GIVEN/passphrase" \
    ${RESTORE:+"$FROM/$RESTORE"}; do
    [ ! -e "$part" ] || cp -R "$part" "$folder/site/" || fail "${part##*/} cannot be copied to the disk: is / large enough?"
  done
  cp "$FILES/frontend-first-boot" "$folder/first-boot"
  chmod 755 "$folder/first-boot"
  cp "$FILES/rocks-frontend-install.service" "$TARGET/etc/systemd/system/"
  inside systemctl --quiet enable rocks-frontend-install.service || fail "the service of the first boot cannot be enabled"
  ln -sf "/usr/share/zoneinfo/$(answer install_timezone UTC)" "$TARGET/etc/localtime"
  sed -i "s/^XKBLAYOUT=.*/XKBLAYOUT=\"$(answer install_keyboard us)\"/" "$TARGET/etc/default/keyboard"
  inside setupcon --save-only >/dev/null 2>&1 || fail "the keyboard map $(answer install_keyboard us) cannot be set"
  hash=$(answer install_root_password_hash)
  word=$(answer install_root_password)
  if [ -n "$hash" ]; then
    printf 'root:%s\n' "$hash" | inside chpasswd -e || fail "the password of root cannot be set"
  elif [ -n "$word" ]; then
    printf 'root:%s\n' "$word" | inside chpasswd || fail "the password of root cannot be set"
  fi
  touch -d "@$(cat "$MEDIUM/system/time")" "$TARGET/usr/lib/clock-epoch" || true
}

# install_signed_loader: Debian's signed shim and GRUB in place of grub-install's unsigned program, so that Secure Boot starts
# them. GRUB reads the configuration beside it, or the one that Debian built its place into.
install_signed_loader() {
  uuid=$(while read -r _ path device; do [ "$path" != / ] || run_blkid --probe --output value --match-tag UUID "$device"; done <"$WORK/mounts")
  mkdir -p /esp
  while read -r disk <&3; do
    mount -t vfat "$(partition "$disk" 2)" /esp || fail "the EFI partition of $disk cannot be mounted"
    mkdir -p /esp/EFI/BOOT /esp/EFI/debian
    signed shim/shimx64.efi.signed BOOTX64.EFI
    signed shim/mmx64.efi.signed mmx64.efi
    signed grub/x86_64-efi-signed/grubx64.efi.signed grubx64.efi
    for folder in BOOT debian; do
      # shellcheck disable=SC2016 # expanded by GRUB
      printf 'search.fs_uuid %s root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' "$uuid" >"/esp/EFI/$folder/grub.cfg"
    done
    umount /esp
  done 3<"$WORK/disks"
}

signed() { cp "$TARGET/usr/lib/$1" "/esp/EFI/BOOT/$2" || fail "the signed boot loader $1 cannot be written to the EFI partition"; }

# check_kept_partitions: a partition can be kept only where the disk has the plan's partitions.
check_kept_partitions() {
  KEEP=$(answer install_keep)
  [ -n "$KEEP" ] || return 0
  disk=$(cat "$WORK/disks")
  is_same_layout "$disk" ||
    fail "install_keep is given, and the disk $disk has not the partitions of install_partitions: nothing was changed. Give those that it has, or no install_keep"
}

from_medium() {
  load_drivers
  start_links
  find_medium
  raise_clock "$MEDIUM/system/time"
  [ "$(medium_argument medium)" != check ] || check_medium
  OVERWRITE_ADVICE='answer install_overwrite = yes'
  ARCHIVE_ADVICE='Make or copy the medium again'
  if find_site; then
    list_rolls
  else
    list_rolls
    ASKED=yes
    ask_answers
  fi
  read_answers "$GIVEN/answers"
  check_answers
  get_passphrase
  write_plan
  list_adapters | while read -r line; do say "adapter $line"; done
  warn_of_links
  say "rolls: $(sed 's/^[^|]*|[^|]*|//' "$WORK/rolls" | tr '\n' ' ')"
  choose_disks "$(needed_mib)"
  ! is_complete ||
    end "this medium with these answers is installed already on $(tr '\n' ' ' <"$WORK/disks"): take the medium out; exit starts the machine"
  while read -r disk; do check_disk "$disk"; done <"$WORK/disks"
  check_kept_partitions
  check_room
  stage partitioning "$(tr '\n' ' ' <"$WORK/disks")"
  while read -r disk <&3; do write_table "$disk"; done 3<"$WORK/disks"
  make_file_systems
  mount_target
  stage unpacking "0 MB"
  unpack_archive
  stage configuring
  write_fstab
  write_arrays
  write_names
  write_network
  write_keys
  copy_medium
  write_frontend
  stage boot-loader
  install_boot_loader
  umount "$TARGET/boot/efi"
  install_signed_loader
  sync
  # by this file the medium's menu finds a frontend that can be started
  : >"$TARGET/boot/grub/rocks-frontend"
  leave_target
  while read -r disk <&3; do set_mark "$disk" "done"; done 3<"$WORK/disks"
  finish
}
