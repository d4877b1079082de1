# shellcheck shell=dash
# What a frontend from a medium is to be: a file of lines NAME = VALUE, as for `rocks create site`, with what the installer
# needs besides. All of it is checked before any disk is opened, and every error is listed at once.
# The rules of all values are those of src/rocks/site/questions.py.

OCTET='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
IPV4="($OCTET\\.){3}$OCTET"
DISK='(smallest|serial=[A-Za-z0-9_.:-]{1,64}|path=(/dev/[a-z0-9]{1,16}|pci-[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]))'
PARTITION='[a-z][a-z0-9]{0,14}:([1-9][0-9]{0,5}|rest):(ext4:/[A-Za-z0-9._/-]*|swap|none)'
DEFAULT_PARTITIONS='root:20:ext4:/ swap:4:swap export:rest:ext4:/export'

# expression_of NAME: what its value must match as a whole; nothing for an unknown name.
expression_of() {
  case $1 in
    Kickstart_PrivateHostname) echo "$HOST_NAME" ;;
    Kickstart_PrivateInterface | Kickstart_PublicInterface) echo "$DEVICE_NAME" ;;
    Kickstart_P*Address | Kickstart_P*Netmask | Kickstart_PublicGateway)
      case ${1#Kickstart_} in
        PrivateAddress | PublicAddress | PrivateNetmask | PublicNetmask | PublicGateway) echo "$IPV4" ;;
      esac
      ;;
    Kickstart_PrivateDNSDomain | Kickstart_PublicDNSDomain) echo "$DOMAIN" ;;
    Kickstart_PublicDNSServers) echo "$IPV4( *, *$IPV4)*" ;;
    install_disk) echo "$DISK( *, *$DISK)?" ;;
    install_partitions) echo "$PARTITION( +$PARTITION){0,15}" ;;
    install_overwrite) echo 'yes|no' ;;
    install_keep) echo '[a-z][a-z0-9]{0,14}( +[a-z][a-z0-9]{0,14})*' ;;
    install_keyboard) echo '[a-z]{2,8}' ;;
    install_kernel_arguments) echo '[A-Za-z0-9=,._:/+@ -]{1,500}' ;;
    install_private_mac | install_public_mac) echo '([0-9a-f]{2}:){5}[0-9a-f]{2}' ;;
    install_restore) echo '[A-Za-z0-9_][A-Za-z0-9._-]{0,63}' ;;
    install_rolls) echo '[A-Za-z0-9._ +-]+' ;;
    install_root_key) echo "$KEY" ;;
    install_root_password) echo '.{8,}' ;;
    install_root_password_hash) echo '\$[A-Za-z0-9./$=,_-]{10,}' ;;
    install_timezone) echo '[A-Za-z0-9_+/-]{1,64}' ;;
  esac
}

# answer NAME [DEFAULT]
answer() {
  value=$(sed -n "s/^$1 = //p" "$WORK/answers")
  printf '%s' "${value:-${2-}}"
}

MISREAD_NAMES='(frontend|compute|login|nas|network|power|vm-container|hosted-vm|localhost|select|help|null|none|all|default|ignore|infinite|rack.*|[0-9]+[smhdw]?|0x[0-9a-f]+)'

problem() { printf '  %s\n' "$*" >>"$WORK/problems"; }

# plain_text FILE: without a mark at its beginning and with plain line ends, whatever editor wrote it.
plain_text() { tr -d '\r' <"$1" | sed "1s/^$(printf '\357\273\277')//"; }

# read_answers FILE: into $WORK/answers, a line "NAME = VALUE" for each answer that is not empty.
read_answers() {
  : >"$WORK/answers"
  : >"$WORK/problems"
  chmod 600 "$WORK/answers"
  plain_text "$1" | sed 's/^[ 	]*//; s/[ 	]*$//' >"$WORK/answers.lines"
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    case $line in
      '' | '#'*) continue ;;
      *=*) ;;
      *)
        problem "line $number is not NAME = VALUE: $line"
        continue
        ;;
    esac
    name=$(printf '%s' "${line%%=*}" | sed 's/[ 	]*$//')
    value=$(printf '%s' "${line#*=}" | sed 's/^[ 	]*//')
    expression=$(expression_of "$name")
    if [ -z "$expression" ]; then
      problem "line $number: $name is no answer"
    elif grep -q "^$name = " "$WORK/answers"; then
      problem "line $number: $name stands there again"
    elif [ -n "$value" ] && ! matches "$value" "$expression"; then
      case $name in install_root_password*) value='what stands there' ;; esac
      problem "line $number: $name cannot be $value"
    elif [ -n "$value" ]; then
      printf '%s = %s\n' "$name" "$value" >>"$WORK/answers"
    fi
  done <"$WORK/answers.lines"
}

# prefix_of NETMASK: its length; nothing where it is none of a network with hosts.
prefix_of() {
  length=1
  while [ $length -le 30 ]; do
    if [ "$(number_of "$1")" -eq $((0xffffffff << (32 - length) & 0xffffffff)) ]; then
      echo $length
      return
    fi
    length=$((length + 1))
  done
}

# check_network NAME: the address, netmask and adapter of Private or Public.
check_network() {
  for part in Interface Address Netmask; do
    [ -n "$(answer "Kickstart_$1$part")" ] || problem "Kickstart_$1$part is missing"
  done
  address=$(answer "Kickstart_$1Address") netmask=$(answer "Kickstart_$1Netmask")
  if [ -z "$address" ] || [ -z "$netmask" ]; then return 0; fi
  length=$(prefix_of "$netmask")
  if [ -z "$length" ]; then
    problem "Kickstart_$1Netmask $netmask is no netmask of a network with hosts"
    return
  fi
  rest=$(($(number_of "$address") & (0xffffffff >> length)))
  if [ $rest -eq 0 ] || [ $rest -eq $((0xffffffff >> length)) ]; then
    problem "Kickstart_$1Address $address is not an address of a host in its network"
  fi
  echo "$address/$length" >"$WORK/network.$1"
}

# check_answers: what single values do not show; ends the installation with the list of all errors.
check_answers() {
  rm -f "$WORK"/network.*
  [ -n "$(answer Kickstart_PrivateHostname)" ] || problem "Kickstart_PrivateHostname is missing"
  # as check_new_host_name and check_ip of `rocks`, which only the first boot has
  ! matches "$(answer Kickstart_PrivateHostname | tr '[:upper:]' '[:lower:]')" "$MISREAD_NAMES" ||
    problem "Kickstart_PrivateHostname $(answer Kickstart_PrivateHostname) has another meaning: choose another name"
  for one in $(answer Kickstart_PublicDNSServers | tr , ' ') $(answer Kickstart_PrivateAddress) $(answer Kickstart_PublicAddress); do
    case $one in 0.0.0.0 | 127.* | 22[4-9].* | 23[0-9].* | 255.255.255.255) problem "$one is not the address of a machine" ;; esac
  done
  check_network Private
  if grep -q '^Kickstart_Public' "$WORK/answers"; then check_network Public; fi
  if [ -s "$WORK/network.Private" ] && [ -s "$WORK/network.Public" ]; then
    read -r private <"$WORK/network.Private"
    read -r public <"$WORK/network.Public"
    if is_inside "${private%/*}" "$public" || is_inside "${public%/*}" "$private"; then
      problem "the networks private and public overlap: $private, $public"
    fi
    gateway=$(answer Kickstart_PublicGateway)
    [ -z "$gateway" ] || is_inside "$gateway" "$public" || problem "Kickstart_PublicGateway $gateway is outside of $public"
  fi
  [ -z "$(answer Kickstart_PublicInterface)" ] ||
    [ "$(answer Kickstart_PublicInterface)" != "$(answer Kickstart_PrivateInterface)" ] ||
    problem "both networks have the device $(answer Kickstart_PrivateInterface)"
  check_machine
  check_restore
  [ ! -s "$WORK/problems" ] || fail "the answers are not right, and nothing was changed:
$(cat "$WORK/problems")"
}

# check_machine: disk, adapters, a way in.
check_machine() {
  [ -n "$(answer install_disk)" ] || problem "install_disk is missing: give the disk that is erased (smallest, serial=X, path=X)"
  partitions=$(answer install_partitions "$DEFAULT_PARTITIONS")
  case " $partitions " in *':ext4:/ '*) ;; *) problem "install_partitions has no partition for /, as in root:rest:ext4:/" ;; esac
  case " $partitions " in *':ext4:/boot '*) problem "install_partitions: /boot must be on the partition of /" ;; esac
  for kept in $(answer install_keep); do
    case " $partitions " in
      *" $kept:"*:ext4:/\ *) problem "install_keep: the partition $kept has the system, which is installed" ;;
      *" $kept:"*:ext4:*) ;;
      *) problem "install_keep: install_partitions has no partition $kept with ext4" ;;
    esac
    case $(answer install_disk) in *,*) problem "install_keep: partitions of a mirror are made anew" ;; esac
  done
  for net in private $([ -z "$(answer Kickstart_PublicInterface)" ] || echo public); do
    mac=$(answer "install_${net}_mac")
    if [ -z "$(mac_of "$net")" ]; then
      problem "there is no adapter for the network $net. This machine has: $(describe_adapters)"
    elif [ -n "$mac" ] && ! adapters | grep -q " $mac "; then
      problem "install_${net}_mac: no adapter has $mac. This machine has: $(describe_adapters)"
    fi
  done
  if [ -n "$(answer install_private_mac)" ] && [ -n "$(answer install_public_mac)" ]; then
    if is_one_adapter; then
      [ "$(answer install_private_mac)" = "$(answer install_public_mac)" ] ||
        problem "$(answer Kickstart_PrivateInterface) and $(answer Kickstart_PublicInterface) are on one adapter, and install_private_mac and install_public_mac are two"
    elif [ "$(answer install_private_mac)" = "$(answer install_public_mac)" ]; then
      problem "both networks have the adapter $(answer install_public_mac)"
    fi
  fi
  case $(answer install_rolls all) in
    all | none) ;;
    *) [ -n "${ASKED-}" ] || check_rolls ;;
  esac
  [ -n "$(answer install_root_password)$(answer install_root_password_hash)$(answer install_root_key)" ] ||
    problem "nobody could log in: give install_root_password_hash (of mkpasswd), install_root_password or install_root_key"
  zone=$(answer install_timezone UTC)
  grep -qxF "$zone" "$MEDIUM/system/timezones" || problem "install_timezone: there is no time zone $zone"
  layout=$(answer install_keyboard us)
  [ -e "$MEDIUM/system/keymaps/$layout" ] || problem "install_keyboard: there is no keyboard map $layout"
}

# check_rolls: those that install_rolls names; the medium's own is always installed.
check_rolls() {
  while IFS='|' read -r _ place name; do names_of_roll "$place" "$name"; done <"$WORK/rolls" >"$WORK/roll.names"
  for file in "$MEDIUM"/frontend/rolls/*.iso; do names_of_roll "$file" "${file##*/}"; done >>"$WORK/roll.names"
  for one in $(answer install_rolls); do
    grep -qxF -e "$one" "$WORK/roll.names" ||
      problem "install_rolls: no medium has $one; there are: $(cut -d '|' -f 3 "$WORK/rolls" | tr '\n' ' ')"
  done
}

# is_one_adapter: whether both networks are on one, by a VLAN.
is_one_adapter() {
  first=$(answer Kickstart_PrivateInterface) second=$(answer Kickstart_PublicInterface)
  [ "${first%%.*}" = "${second%%.*}" ]
}

# mac_of NETWORK: the adapter that the answers name; else the first, or for public the next, that they do not name. One at USB
# must be named: it may be that of the machine's management controller.
mac_of() {
  mac=$(answer "install_$1_mac")
  if [ -z "$mac" ] && is_one_adapter; then mac=$(answer install_private_mac)$(answer install_public_mac); fi
  if [ -z "$mac" ]; then
    number=1
    [ "$1" = private ] || is_one_adapter || [ -n "$(answer install_private_mac)" ] || number=2
    mac=$(adapters | awk '$5 != "usb" { print $2 }' | grep -vx "$(answer install_private_mac none)" |
      grep -vx "$(answer install_public_mac none)" | sed -n "${number}p")
  fi
  printf '%s' "$mac"
}

# warn_of_links: a cable is often in another adapter.
warn_of_links() {
  while read -r device mac _; do
    adapters | grep -q " $mac yes " ||
      say "WARNING: $device ($mac) has no link; adapters with a link: $(adapters | awk '$3 == "yes" { printf "%s ", $2 }')"
  done <"$WORK/plan.interfaces"
}

# write_plan: of the answers, in the form of a host's.
write_plan() {
  digest=$(cut -d' ' -f1 "$MEDIUM/system/root.sha256")
  {
    echo 'rocks-install-plan 1'
    echo "host $(answer Kickstart_PrivateHostname)"
    echo "domain $(answer Kickstart_PrivateDNSDomain local)"
    # the same answers and the same medium are the same installation: it goes on after a power cut
    echo "installation $({ cat "$WORK/answers" "$MEDIUM/frontend/version"; echo "$digest"; } | sha256sum | cut -c1-16)"
    echo "interface $(answer Kickstart_PrivateInterface) $(mac_of private) $(cat "$WORK/network.Private") 1500"
    [ ! -s "$WORK/network.Public" ] ||
      echo "interface $(answer Kickstart_PublicInterface) $(mac_of public) $(cat "$WORK/network.Public") 1500"
    gateway=$(answer Kickstart_PublicGateway)
    [ -z "$gateway" ] || echo "gateway $gateway"
    # a system uses three
    for server in $(answer Kickstart_PublicDNSServers | tr , ' '); do echo "nameserver $server"; done | head -n 3
    for disk in $(answer install_disk | tr , ' '); do echo "disk $disk" | sed 's/=/ /'; done
    echo "overwrite $(answer install_overwrite no)"
    for part in $(answer install_partitions "$DEFAULT_PARTITIONS"); do
      echo "$part" | tr : ' ' | {
        read -r name size kind path
        [ "$size" = rest ] || size=$((size * 1000000000 / 1048576))
        echo "partition $name $size $kind ${path:--}"
      }
    done
    arguments=$(answer install_kernel_arguments)
    # who installs on a serial line has no screen
    case $(cat "$CMDLINE") in *console=tty0*console=ttyS0*) arguments=${arguments:-console=tty0 console=ttyS0,115200} ;; esac
    [ -z "$arguments" ] || echo "kernel-arguments $arguments"
    echo "archive medium:system/root.tar.zst"
    echo "archive-sha256 $digest"
    key=$(answer install_root_key)
    [ -z "$key" ] || printf 'authorized-key %s\n' "$key"
    echo end
  } >"$WORK/plan"
  read_plan "$WORK/plan"
}
