# shellcheck shell=dash
# shellcheck disable=SC2154 # reply is set by ask
# What a person is asked on the console when no medium has answers. The result is what a second medium would have: a file of
# answers, checked as one of a medium is, and a file of attributes. Defaults stand in brackets.

SMALLEST_DISK_MIB=8000
LARGE_DISK_MIB=40000 # of the default partitions

# ask QUESTION DEFAULT EXPRESSION: the answer in $reply; asked again until it matches.
ask() {
  while :; do
    printf '%s%s: ' "$1" "${2:+ [$2]}" >"$CONSOLE"
    IFS= read -r reply <"$CONSOLE" || { sleep 1; continue; }
    reply=$(printf '%s' "$reply" | tr -d '\r' | sed 's/^[ 	]*//; s/[ 	]*$//')
    reply=${reply:-$2}
    ! matches "$reply" "$3" || return 0
    show '  this cannot be the answer here'
  done
}

show() { printf '%s\n' "$*" >"$CONSOLE"; }

put() { [ -z "$2" ] || printf '%s = %s\n' "$1" "$2" >>"$GIVEN/answers"; }

# ask_for NAME QUESTION DEFAULT [EXPRESSION]: by the rule of the answer with this name, which it becomes.
ask_for() {
  ask "$2" "$3" "${4:-$(expression_of "$1")}"
  put "$1" "$reply"
}

# disk_model DISK: of virtio there is none.
disk_model() { if [ -r "$SYS/block/$1/device/model" ]; then tr -s ' ' <"$SYS/block/$1/device/model" | sed 's/ $//'; fi; }

# list_disks: with their contents; those that cannot be chosen have the reason. Writes $WORK/offered.
list_disks() {
  show '' 'The disks of this machine:'
  : >"$WORK/offered"
  for disk in $(candidates); do
    content "$disk" >"$WORK/content.$disk"
    data=$(tr '\n' ',' <"$WORK/content.$disk" | sed 's/,$//; s/,/, /g')
    about="$disk  $(($(disk_mib "$disk") * 1048576 / 1000000000)) GB  $(disk_model "$disk")  serial $(disk_serial "$disk")"
    if grep -q ' zfs_member$' "$WORK/content.$disk"; then
      show "  -) $about  has a ZFS pool, which is never overwritten"
    elif [ "$(disk_mib "$disk")" -lt $SMALLEST_DISK_MIB ]; then
      show "  -) $about  is too small for a frontend"
    else
      echo "$disk" >>"$WORK/offered"
      show "  $(wc -l <"$WORK/offered")) $about  ${data:+has data: }${data:-empty}"
    fi
  done
  [ -s "$WORK/offered" ] || fail "this machine has no disk for a frontend: $(describe_disks). Missing drivers?"
}

# choice_of DISK: as the answer install_disk names it.
choice_of() {
  serial=$(disk_serial "$1")
  if matches "$serial" '[A-Za-z0-9_.:-]{1,64}'; then printf 'serial=%s' "$serial"; else printf 'path=/dev/%s' "$1"; fi
}

# ask_consent DISK: to erase one with data.
ask_consent() {
  [ -s "$WORK/content.$1" ] || return 0
  show "ALL DATA ON $1 WILL BE LOST."
  ask "To erase it, type its name, $1; anything else ends the installation" '' '.*'
  [ "$reply" = "$1" ] || fail "the disk $1 has data and stays as it is"
  OVERWRITE=yes
}

ask_disks() {
  list_disks
  count=$(wc -l <"$WORK/offered")
  ask 'Install on disk number' "$([ "$count" -ne 1 ] || echo 1)" "[1-9][0-9]?"
  first=$(sed -n "${reply}p" "$WORK/offered")
  [ -n "$first" ] || fail "there is no disk number $reply"
  second=''
  if [ "$count" -gt 1 ]; then
    ask 'Mirror it on disk number (0: no mirror)' 0 "[0-9][0-9]?"
    if [ "$reply" != 0 ]; then
      second=$(sed -n "${reply}p" "$WORK/offered")
      [ -n "$second" ] || fail "there is no disk number $reply"
    fi
    [ "$first" != "$second" ] || fail "the mirror of $first cannot be $first itself"
  fi
  OVERWRITE=''
  size=$(disk_mib "$first")
  for disk in $first $second; do
    ask_consent "$disk"
    [ "$(disk_mib "$disk")" -ge "$size" ] || size=$(disk_mib "$disk")
  done
  put install_disk "$(choice_of "$first")${second:+,$(choice_of "$second")}"
  put install_overwrite "$OVERWRITE"
  default=$DEFAULT_PARTITIONS
  [ "$size" -ge $LARGE_DISK_MIB ] || default='root:rest:ext4:/'
  ask_for install_partitions 'Partitions' "$default"
}

# ask_network PRIVATE-OR-PUBLIC DEFAULT-NUMBER DEVICE ADDRESS NETMASK. False when there is to be none.
ask_network() {
  net=$(echo "$1" | tr '[:upper:]' '[:lower:]')
  ask "Number of the adapter of the network $net$([ "$1" = Private ] || echo ' (0: none)')" "$2" "[0-9][0-9]?"
  [ "$reply" != 0 ] || return 1
  mac=$(adapters | sed -n "${reply}p" | cut -d' ' -f2)
  [ -n "$mac" ] || fail "there is no adapter number $reply"
  put "install_${net}_mac" "$mac"
  put "Kickstart_$1Interface" "$3"
  ask_for "Kickstart_$1Address" "Address on the network $net" "$4"
  ask_for "Kickstart_$1Netmask" 'Its netmask' "$5"
}

ask_networks() {
  show '' 'The network adapters:'
  list_adapters | awk '{ printf "  %s %s\n", /^PCI/ ? "-)" : NR ")", $0 }' >"$CONSOLE"
  adapters | awk '$5 != "usb" { print NR }' >"$WORK/numbers" # one at USB may be that of a management controller
  ask_network Private "$(sed -n 1p "$WORK/numbers")" eth0 10.1.1.1 255.255.0.0 || fail "a frontend needs the network private"
  number=$(sed -n 2p "$WORK/numbers")
  ask_network Public "${number:-0}" eth1 '' 255.255.255.0 || return 0
  ask_for Kickstart_PublicGateway 'Its gateway (empty: none)' '' "($IPV4)?"
  ask_for Kickstart_PublicDNSServers 'Name servers, with commas (empty: none)' '' "($(expression_of Kickstart_PublicDNSServers))?"
}

# ask_hidden QUESTION: the answer in $reply, which the screen does not show.
ask_hidden() {
  stty -echo <"$CONSOLE" 2>/dev/null || true
  printf '%s: ' "$1" >"$CONSOLE"
  IFS= read -r reply <"$CONSOLE" || sleep 1
  show ''
  stty echo <"$CONSOLE" 2>/dev/null || true
}

ask_password() {
  while :; do
    ask_hidden 'Password of root'
    first=$reply
    ask_hidden Again
    [ "$first" != "$reply" ] || [ "${#first}" -lt 8 ] || break
    show '  the two differ, or are shorter than 8 characters'
  done
  put install_root_password "$first"
}

# ask_keyboard: the map is that of the next answers, too: a password is typed with it later.
ask_keyboard() {
  while :; do
    ask 'Keyboard map' us "$(expression_of install_keyboard)"
    [ ! -e "$MEDIUM/system/keymaps/$reply" ] || break
    show "  there is none of this name; there are $(cd "$MEDIUM/system/keymaps" && echo *)"
  done
  put install_keyboard "$reply"
  loadkmap <"$MEDIUM/system/keymaps/$reply" 2>/dev/null || true # a serial line has none
}

ask_zone() {
  while :; do
    ask 'Time zone' UTC "$(expression_of install_timezone)"
    ! grep -qxF "$reply" "$MEDIUM/system/timezones" || break
    show "  there is none of this name; some are $(grep -i "${reply##*/}" "$MEDIUM/system/timezones" | head -n 5 | tr '\n' ' ')Europe/Berlin America/New_York"
  done
  put install_timezone "$reply"
}

ask_answers() {
  : >"$GIVEN/answers"
  : >"$GIVEN/attributes"
  chmod 600 "$GIVEN/answers"
  echo 1 >/proc/sys/kernel/printk # messages of the kernel would be between the lines
  show '' 'This medium makes this machine the frontend of a site.'
  ask_keyboard
  ask_disks
  ask_for Kickstart_PrivateHostname 'Name of the frontend' head
  ask_networks
  ask_zone
  ask 'Time server (empty: none)' '' '[A-Za-z0-9.-]*'
  [ -z "$reply" ] || echo "Kickstart_PublicNTPHost = $reply" >>"$GIVEN/attributes"
  ask_password
  ask_for install_root_key "Root's SSH key, as a line of authorized_keys (empty: none)" '' "($(expression_of install_root_key))?"
  show '' "Rolls on the media that are there: $(sed 's/^[^|]*|[^|]*|//' "$WORK/rolls" | tr '\n' ' ')"
  ask_for install_rolls 'Which of them (names, all or none)' all
  ask 'Is there no other DHCP server on the network private, and shall this frontend answer there' no 'yes|no'
  [ "$reply" = no ] || echo 'boot_service = yes' >>"$GIVEN/attributes"
  show '' 'The answers:'
  sed 's/^\(install_root_password = \).*/\1***/; s/^/  /' "$GIVEN/answers" "$GIVEN/attributes" >"$CONSOLE"
  ask 'Install (yes or no)' '' 'yes|no'
  [ "$reply" = yes ] || fail "nothing was changed"
}

# ask_further_medium: whether another one with rolls is in place of an earlier one.
ask_further_medium() {
  show ''
  ask 'To add rolls of a further medium, insert it and type next; else type done' "done" 'next|done'
  [ "$reply" = next ]
}
