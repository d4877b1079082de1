# Functions for profiles and the sections of node files. Each changes only differing state, and prints its changes.

rocks_say() { printf '%s: %s\n' "$ROCKS_HOST" "$*"; }

# rocks_changed TEXT…: print a change, and count it
rocks_changed() {
  printf '%s\n' "$*" >>"$ROCKS_WORK/changes"
  rocks_say "changed: $*"
}

# rocks_warn TEXT…: print a task for the operator; the profile continues
rocks_warn() {
  printf '%s\n' "$*" >>"$ROCKS_WORK/warnings"
  printf 'Warning: %s: %s\n' "$ROCKS_HOST" "$*" >&2
}

# rocks_fail TEXT…: end with an error
rocks_fail() {
  printf 'Error: %s: %s\n' "$ROCKS_HOST" "$*" >&2
  exit 1
}

# rocks_packages_deb NAME…: install those that are missing
rocks_packages_deb() {
  local installed name lists='' missing=()
  command -v dpkg-query >/dev/null ||
    rocks_fail "this machine has no dpkg; on the frontend: rocks set host attr $ROCKS_HOST packaging rpm"
  installed=$'\n'$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' -- "$@" 2>/dev/null || true)$'\n'
  for name; do
    [[ $installed == *$'\n'[ih]"i $name"$'\n'* ]] || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  # what a power cut or a kill left half done would stop apt-get; while another dpkg works, apt-get waits for its end
  dpkg --force-confold --configure -a >/dev/null 2>&1 || true
  # continue when one source does not answer: another may have the packages
  apt-get -qq -o DPkg::Lock::Timeout=300 update ||
    lists=', nor fetch all lists of packages: see /etc/apt/sources.list.d; does rocks-kickstart run on the frontend?'
  apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold --no-install-recommends \
    install -- "${missing[@]}" >"$ROCKS_WORK/apt" 2>&1 || {
    tail -n 20 "$ROCKS_WORK/apt" >&2
    rocks_fail "apt-get did not install ${missing[*]}$lists; when the site's distribution lacks them: rocks add roll, rocks enable roll," \
      "rocks create distro on the frontend, then run the profile again"
  }
  rocks_changed "packages installed: ${missing[*]}"
}

# rocks_packages_rpm NAME…: install those that are missing
rocks_packages_rpm() {
  local name missing=()
  command -v rpm >/dev/null ||
    rocks_fail "this machine has no rpm; on the frontend: rocks set host attr $ROCKS_HOST packaging deb"
  for name; do
    case $name in
      @*) dnf -y -q group list hidden installed "${name#@}" 2>/dev/null | grep -q . || missing+=("$name") ;;
      *) rpm -q --quiet -- "$name" || missing+=("$name") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  dnf -y -q install -- "${missing[@]}" >"$ROCKS_WORK/dnf" 2>&1 || {
    tail -n 20 "$ROCKS_WORK/dnf" >&2
    rocks_fail "dnf did not install ${missing[*]}"
  }
  rocks_changed "packages installed: ${missing[*]}"
}

# rocks_content: take the standard input as the content of the next rocks_file
rocks_content() { (umask 077 && cat >"$ROCKS_WORK/content"); }

# rocks_file PATH create|append|touch PERMISSIONS OWNER keep|forget: have the file with the content, whole or as before
rocks_file() {
  local path content=$ROCKS_WORK/content new text block
  # a link of another user, who owns the folder, could lead to any file of root's
  if [ -h "$1" ] && [ "$(stat -c %u -- "$1")" != 0 ]; then rm -f -- "$1"; fi
  path=$(readlink -m -- "$1")
  [ ! -d "$path" ] || rocks_fail "$path is a folder, and the profile has a file there: move the folder away"
  case $2 in
    touch) if [ -e "$path" ]; then cat -- "$path"; fi | rocks_content ;;
    append)
      if [ -e "$path" ]; then
        # the dot keeps the line ends at the end
        text=$(tr -d '\0' <"$path" && echo .) text=${text%.} block=$(cat -- "$content" && echo .) block=${block%.}
        (
          umask 077
          cat -- "$path"
          if [ -n "$text" ] && [[ $text != *$'\n' ]]; then echo; fi
          if [[ $'\n'$text$'\n' != *$'\n'"$block"* ]]; then cat -- "$content"; fi
        ) >"$content.whole"
        mv -f -- "$content.whole" "$content"
      fi
      ;;
  esac
  if ! [ -e "$path" ] || ! cmp -s -- "$content" "$path"; then
    # a user that there is not is found here, before anything is written
    if [ -n "$4" ]; then chown -- "$4" "$content"; fi
    [ "$5" = forget ] || rocks_keep_original "$path"
    [ -d "${path%/*}/" ] || mkdir -p -- "${path%/*}/"
    new=${path%/*}/.${path##*/}.rocks-new
    rm -f -- "$new"
    (umask 077 && set -C && cat -- "$content" >"$new")
    if [ -e "$path" ]; then chown --reference="$path" -- "$new"; fi
    if [ -n "$4" ]; then chown -- "$4" "$new"; fi
    if [ -n "$3" ]; then
      chmod -- "$3" "$new"
    elif [ -e "$path" ]; then
      chmod --reference="$path" -- "$new"
    else
      chmod 644 -- "$new"
    fi
    mv -f -- "$new" "$path"
    if command -v restorecon >/dev/null; then restorecon -- "$path"; fi
    rocks_changed "file $path"
  fi
  rm -f -- "$content"
  if [ -n "$4" ]; then rocks_owner "$path" "$4"; fi
  if [ -n "$3" ] && [ "$(stat -c %a -- "$path")" != "$3" ]; then
    chmod -- "$3" "$path"
    rocks_changed "permissions of $path"
  fi
}

rocks_owner() {
  local names numbers
  case $2 in
    *:*) names=%U:%G numbers=%u:%g ;;
    *) names=%U numbers=%u ;;
  esac
  if [ "$(stat -c "$names" -- "$1")" != "$2" ] && [ "$(stat -c "$numbers" -- "$1")" != "$2" ]; then
    chown -- "$2" "$1"
    rocks_changed "owner of $1"
  fi
}

# A file that was there before the first profile wrote it is kept once, below /var/lib/rocks/originals.
rocks_keep_original() {
  local kept=/var/lib/rocks/originals$1
  if ! [ -e "$kept" ] && ! [ -e "$kept.none" ]; then
    (umask 077 && mkdir -p -- "${kept%/*}")
    if [ -e "$1" ]; then cp -a -- "$1" "$kept.new" && mv -f -- "$kept.new" "$kept"; else : >"$kept.none"; fi
  fi
}

# rocks_folder PATH PERMISSIONS: have the folder, owned by root
rocks_folder() {
  if ! [ -d "$1" ] || [ "$(stat -c %a -- "$1")" != "$2" ]; then
    install -d -m "$2" -- "$1"
    rocks_changed "folder $1"
  fi
}

# rocks_link TARGET PATH: have the symbolic link
rocks_link() {
  if ! [ -h "$2" ] || [ "$(readlink -- "$2")" != "$1" ]; then
    [ ! -e "$2" ] || [ -h "$2" ] || rocks_fail "$2 is in the place of the profile's link to $1: move it away, then run the profile again"
    mkdir -p -- "${2%/*}"
    ln -sfn -- "$1" "$2"
    rocks_changed "link $2"
  fi
}

# rocks_absent PATH…: have no such files
rocks_absent() {
  local path
  for path; do
    if [ -e "$path" ] || [ -h "$path" ]; then
      rm -f -- "$path"
      rocks_changed "removed $path"
    fi
  done
}

# rocks_marked_files_absent MARK PATH…: of the files of network devices that profiles write, have only these
rocks_marked_files_absent() {
  local mark=$1 path first kept
  shift
  kept=$'\n'$(printf '%s\n' "$@")$'\n'
  for path in /etc/systemd/network/10-* /etc/systemd/network/10-*.network.d/routes.conf \
    /etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf /etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf \
    /etc/NetworkManager/system-connections/rocks-*.nmconnection; do
    if ! [ -f "$path" ] || [[ $kept == *$'\n'"$path"$'\n'* ]]; then continue; fi
    first=''
    case $path in /etc/systemd/*) IFS= read -r first <"$path" || true ;; *) first=$mark ;; esac
    if [ "$first" = "$mark" ]; then rocks_absent "$path"; fi
  done
}

# rocks_needs_reboot TEXT…: the text takes effect at the next boot; each profile says so until then
rocks_needs_reboot() {
  if [ -d /run/systemd/system ]; then printf '%s\n' "$*" >/run/rocks-reboot-needed; fi
}

# rocks_network: after changes of the files of network devices. Routes of networkd are set at once, by which a device is
# without its addresses for some 20 ms; all else waits for the next boot, for it could cut off who changes it
rocks_network() {
  local changed
  changed=$(grep -E '/etc/(systemd/network|NetworkManager)/' "$ROCKS_WORK/changes" || true)
  [ -n "$changed" ] || return 0
  if ! [ -s /run/rocks-reboot-needed ] && ! printf '%s\n' "$changed" | grep -qv '\.network\.d/' &&
    networkctl reload >"$ROCKS_WORK/networkctl" 2>&1; then
    rocks_changed "routes set"
  else
    rocks_needs_reboot "the network devices of $ROCKS_HOST"
  fi
}

# rocks_module NAME…: have the kernel's modules loaded now; /etc/modules-load.d lists the modules for the boot
rocks_module() {
  local name
  for name; do
    if ! [ -d "/sys/module/${name//-/_}" ]; then
      modprobe -q -- "$name" ||
        rocks_fail "the kernel $(uname -r) has no module $name: install the package that contains it, then run the profile again"
      # built-in modules are often missing there
      [ ! -d "/sys/module/${name//-/_}" ] || rocks_changed "module $name loaded"
    fi
  done
}

# rocks_rest_disks: a line of all disks of this host but its system's, as zpool takes them: one, or each two as a mirror, in the
# order of their lasting names: those of the kernel may change at each start, and an interrupted pool is made of the same ones
rocks_rest_disks() {
  local name type is_removable is_readonly size lasting found=()
  while read -r name type is_removable is_readonly size; do
    case $name in /dev/zd* | /dev/zram* | /dev/nbd* | /dev/ram*) continue ;; esac
    case $type$is_removable$is_readonly in disk00) [ "$size" -gt 0 ] || continue ;; *) continue ;; esac
    ! lsblk --noheadings --raw --output MOUNTPOINT -- "$name" | grep -q . || continue
    lasting=$(find -L /dev/disk/by-id -samefile "$name" 2>/dev/null | LC_ALL=C sort | head -n 1)
    found+=("${lasting:-$name}")
  done < <(lsblk --nodeps --noheadings --raw --paths --bytes --output NAME,TYPE,RM,RO,SIZE)
  readarray -t found < <([ ${#found[@]} -eq 0 ] || printf '%s\n' "${found[@]}" | LC_ALL=C sort)
  case ${#found[@]} in
    0) rocks_fail "this host has no disk but its system's, and no pool is made: add one, or set the attribute img_zpool_disks" ;;
    1) ;;
    *[13579]) rocks_fail "this host has ${#found[@]} disks besides its system's, which are not pairs for mirrors, and no pool is made: name those of the pool in the attribute img_zpool_disks; there are ${found[*]}" ;;
    *) printf 'mirror %s %s ' "${found[@]}"; return 0 ;;
  esac
  printf '%s\n' "${found[@]}"
}

# rocks_pool NAME VDEV…: have the ZFS pool. A missing one is made of the disks, which must be empty; VDEV is a disk or `mirror`,
# or one word `rest`: all disks but the system's
rocks_pool() {
  local pool=$1 word begun=/var/lib/rocks/pools/$1
  shift
  if zpool list -H -o name "$pool" >/dev/null 2>&1; then
    rm -f -- "$begun"
    return 0
  fi
  # an existing pool of that name must be imported, not replaced; no guest's disk is in that folder
  if zpool import -d /dev/disk/by-id 2>/dev/null | grep -qx " *pool: $pool"; then
    rocks_fail "the pool $pool exists but is not imported: zpool import -d /dev/disk/by-id $pool, then run the profile again"
  fi
  if [ "$*" = rest ]; then
    word=$(rocks_rest_disks) || exit 1
    # shellcheck disable=SC2086 # words
    set -- $word
  fi
  for word; do
    case $word in /*) rocks_empty_disk "$word" "$([ "$(cat -- "$begun" 2>/dev/null)" != "$*" ] || echo begun)" ;; esac
  done
  # from here on a new partition table on these disks is ours, should zpool be killed
  mkdir -p -- "${begun%/*}"
  printf '%s\n' "$*" >"$begun"
  sync -- "$begun"
  # snapshots of zfs-auto-snapshot on a NAS hold the changes of its images
  zpool create -o ashift=12 -O compression=lz4 -O atime=off -O mountpoint=none -O volmode=dev \
    -O com.sun:auto-snapshot=false "$pool" "$@" ||
    rocks_fail "zpool did not make the pool $pool of $*; its message is above"
  rm -f -- "$begun"
  rocks_changed "pool $pool made of $*"
}

# rocks_empty_disk DISK [begun]: fail unless there is nothing on the disk; `begun`: an empty partition table may be there
rocks_empty_disk() {
  local part parts found
  [ -b "$1" ] || rocks_fail "there is no disk $1 on this host: ls -l /dev/disk/by-id lists those that are there"
  parts=$(lsblk --noheadings --raw --paths --output NAME -- "$1") || rocks_fail "lsblk cannot read the disk $1"
  found=$(for part in $parts; do wipefs --no-act --noheadings --output TYPE -- "$part" || echo "$part cannot be read"; done)
  [ "$2" != begun ] || found=$(printf '%s\n' "$found" | grep -vixF -e gpt -e pmbr || true)
  if [ -z "$found" ] && [ "$2" != begun ] && ! cmp -s -n 1048576 -- "$1" /dev/zero; then found='bytes in its first MiB'; fi
  [ -z "$found" ] ||
    rocks_fail "the disk $1 has data (${found//$'\n'/, }), and no pool is made of it: name another disk; or, when the data is not needed, wipefs --all $1 and its partitions, blkdiscard or overwrite its first MiB"
}

# rocks_unit_enabled UNIT: have a unit started at boot
rocks_unit_enabled() {
  if ! systemctl is-enabled -q -- "$1" 2>/dev/null; then
    systemctl enable -q -- "$1"
    rocks_changed "unit $1 enabled"
  fi
}

# rocks_is_running UNIT: whether it runs; in a root that systemd has not booted nothing does, whatever systemctl says there
rocks_is_running() { [ -d /run/systemd/system ] && systemctl is-active -q -- "$1"; }

# rocks_service UNIT FILE…: have the unit enabled and running, and started after the last change of any of the files
rocks_service() {
  local unit=$1 started file
  shift
  if ! [ -d /run/systemd/system ]; then
    rocks_unit_enabled "$unit" # not booted: it starts at the boot
    return 0
  fi
  if [ "$(systemctl show --value -p NeedDaemonReload -- "$unit")" = yes ]; then systemctl daemon-reload; fi
  rocks_unit_enabled "$unit"
  if ! rocks_is_running "$unit"; then
    systemctl reset-failed -- "$unit" 2>/dev/null || true
    systemctl start -- "$unit" || rocks_fail "$unit does not start: journalctl -u $unit says why"
    rocks_changed "unit $unit started"
    return 0
  fi
  rocks_restart_if_older "$unit" "$@"
}

# rocks_failed_unit_started UNIT: start a unit again that failed before what it needs was there
rocks_failed_unit_started() {
  [ -d /run/systemd/system ] && systemctl is-failed -q -- "$1" || return 0
  systemctl start -- "$1" || rocks_fail "$1 does not start: journalctl -u $1 says why"
  rocks_changed "unit $1 started"
}

# rocks_restart_if_older UNIT FILE…: have the unit, if it runs, started after the last change of any of the files
rocks_restart_if_older() {
  local unit=$1 started file
  shift
  rocks_is_running "$unit" || return 0
  started=$(date -d "$(TZ=UTC systemctl show --value -p ActiveEnterTimestamp -- "$unit")" +%s)
  for file; do
    if [ -e "$file" ] && { grep -qxF "file $file" "$ROCKS_WORK/changes" || [ "$(stat -c %Z -- "$file")" -gt "$started" ]; }; then
      systemctl restart -- "$unit" || rocks_fail "$unit does not start with the new $file: journalctl -u $unit says why"
      rocks_changed "unit $unit restarted, for $file is newer"
      return 0
    fi
  done
}

# rocks_section NODE KIND PROGRAM…: run the text on the standard input by the program
rocks_section() {
  local node=$1 kind=$2 status=0
  shift 2
  (umask 077 && cat >"$ROCKS_WORK/section")
  command -v -- "$1" >/dev/null || rocks_fail "node $node needs the program $1 for its $kind section"
  "$@" "$ROCKS_WORK/section" </dev/null || status=$?
  [ "$status" = 0 ] ||
    rocks_fail "the $kind section of node $node ended with exit status $status; fix the reported error, then run the profile again"
}

rocks_begin() {
  [ "$(id -u)" = 0 ] || rocks_fail "the profile is for root"
  exec 9>/run/rocks-profile.lock # not in /run/lock, where every user can make files
  flock -n 9 || rocks_fail "another profile is being run on this machine; wait for its end"
  ROCKS_WORK=$(mktemp -d)
  trap 'rm -rf -- "$ROCKS_WORK"' EXIT
  : >"$ROCKS_WORK/changes" >"$ROCKS_WORK/warnings"
  export ROCKS_WORK
  rocks_say "profile begins on $(uname -n)"
}

rocks_end() {
  local changes warnings
  if [ -s /run/rocks-reboot-needed ]; then
    rocks_warn "$(head -n 1 /run/rocks-reboot-needed) take effect at the next boot: systemctl reboot"
  fi
  changes=$(grep -c . "$ROCKS_WORK/changes" || true)
  warnings=$(grep -c . "$ROCKS_WORK/warnings" || true)
  case $changes in
    0) rocks_say "profile ends: no changes" ;;
    *) rocks_say "profile ends: changes: $changes" ;;
  esac
  [ "$warnings" = 0 ] || rocks_say "left to do, as warned above: $warnings"
}
