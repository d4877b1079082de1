# shellcheck shell=dash
# shellcheck disable=SC2154 # plan_… are set by plan.sh
# The machine itself: drivers, network, clock, the plan, the end.

# load_drivers: by the identifiers of the devices. Drivers of a bus bring new devices, so it is repeated until there are none.
load_drivers() {
  modprobe -a -q sd_mod ext4 vfat nls_cp437 nls_ascii crc32c_generic af_packet raid1 2>/dev/null || true
  : >"$WORK/devices"
  for _ in 1 2 3 4; do
    find "$SYS/devices" -name modalias -exec cat {} + 2>/dev/null | sort -u >"$WORK/devices.now"
    ! cmp -s "$WORK/devices" "$WORK/devices.now" || break
    mv "$WORK/devices.now" "$WORK/devices"
    # One call for all, since each reads the whole list of drivers.
    xargs modprobe -a -q <"$WORK/devices" 2>/dev/null || true
    sleep 1
  done
}

# start_links: an adapter that is down does not know whether it has a link.
start_links() { for entry in "$SYS"/class/net/*; do ip link set "${entry##*/}" up 2>/dev/null || true; done; }

# adapters: a line for each Ethernet adapter, "DEVICE MAC LINK DRIVER BUS", in the order in which the kernel found them.
adapters() {
  for entry in "$SYS"/class/net/*; do
    [ -e "$entry/device" ] || continue
    [ "$(cat "$entry/type" 2>/dev/null || echo 1)" = 1 ] || continue # ARPHRD_ETHER
    has_link=no
    [ "$(cat "$entry/carrier" 2>/dev/null)" != 1 ] || has_link=yes
    driver=$(readlink "$entry/device/driver" || echo unknown)
    bus=$(readlink "$entry/device/subsystem" || echo unknown)
    echo "$(cat "$entry/ifindex") ${entry##*/} $(cat "$entry/address") $has_link ${driver##*/} ${bus##*/}"
  done | sort -n | cut -d' ' -f2-
}

# unusable_adapters: a line for each network adapter on PCI that has become no network device, and why.
unusable_adapters() {
  for entry in "$SYS"/bus/pci/devices/*; do
    case $(cat "$entry/class" 2>/dev/null) in 0x02*) ;; *) continue ;; esac
    for place in "$entry"/net/* "$entry"/*/net/*; do [ ! -e "$place" ] || continue 2; done # virtio has a level between
    reason='no driver'
    [ ! -e "$entry/driver" ] || reason="its driver $(basename "$(readlink "$entry/driver")") has made no device: is firmware missing?"
    echo "PCI ${entry##*/} ($(cat "$entry/vendor"):$(cat "$entry/device")): $reason"
  done
}

# list_adapters: a line for each, for a person.
list_adapters() {
  adapters | awk '{ printf "%s  %s  %s  driver %s%s\n", $1, $2, ($3 == "yes" ? "link" : "no link"), $4, ($5 == "usb" ? "  USB" : "") }'
  unusable_adapters
}

describe_adapters() { list_adapters | awk '{ printf "%s%s", (NR > 1 ? "; " : ""), $0 } END { if (!NR) printf "no network adapter" }' | tr -s ' '; }

# start_network: DHCP on the interface that booted, else on each until one gets an answer.
start_network() {
  boot_mac=$(sed -n 's/.*BOOTIF=01-\([0-9A-Fa-f-]*\).*/\1/p' /proc/cmdline | tr 'A-F-' 'a-f:')
  for attempt in 1 2 3; do
    for entry in "$SYS"/class/net/*; do
      link=${entry##*/}
      [ "$link" != lo ] || continue
      [ -z "$boot_mac" ] || [ "$(cat "$entry/address")" = "$boot_mac" ] || continue
      ip link set "$link" up || continue
      if udhcpc -q -n -t 6 -T 3 -i "$link" -s "$HERE/lease" >/dev/null 2>&1; then
        say "network: $link, $(cat "$WORK/lease")"
        return
      fi
    done
    say "no answer to DHCP (attempt $attempt of 3)"
    sleep 5
  done
  fail "no DHCP server answers on any network interface ($(describe_adapters)). Is the frontend's boot service there?"
}

# use_ports_of_root: the frontend gives the plan, whose addresses are secret, to ports that no other user of a host can have.
use_ports_of_root() {
  echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
  echo "512 1023" >/proc/sys/net/ipv4/ip_local_port_range
}

# set_clock: certificates are not valid before their time, and a clock without a battery is decades late. The site's files
# say when they were written; the clock is at least that, and so is the clock that the installed system starts with.
set_clock() {
  [ -r "$SITE/ca.pem" ] || fail "this initramfs has no site files (/installer/site/ca.pem): the boot entry must load them as a second initrd"
  raise_clock "$SITE/time"
}

# raise_clock FILE: to at least the time that stands there.
raise_clock() {
  written=$(cat "$1" 2>/dev/null || echo 0)
  if [ "$(date +%s)" -lt "$written" ]; then
    date -s "@$written" >/dev/null
    hwclock -u -w 2>/dev/null || say "the machine's own clock cannot be set"
  fi
}

fetch_plan() {
  address=$(sed -n 's/.*rocks\.plan=\([^ ]*\).*/\1/p' /proc/cmdline)
  matches "$address" "$URL" || fail "the kernel has no valid argument rocks.plan=https://…; correct the boot entry on the frontend"
  fetch "$address" --tries=20 --timeout=30 -O "$WORK/plan" 2>"$WORK/fetch.log" ||
    fail "the plan cannot be fetched from $address: $(tail -n 1 "$WORK/fetch.log")"
  read_plan "$WORK/plan"
  stage started "$(uname -r) $([ -d "$SYS/firmware/efi" ] && echo UEFI || echo BIOS) disks: $(describe_disks)"
  # by these the frontend finds the second device of a host: not by that of a management controller
  report adapters "$(adapters | awk '$3 == "yes" && $5 != "usb" { printf "%s ", $2 }')" || true
}

# is_complete: whether this very installation has ended on all chosen disks.
is_complete() {
  while read -r disk; do [ "$(mark_of "$disk")" = "done $plan_installation" ] || return 1; done <"$WORK/disks"
}

# finish: the frontend must know before the machine starts again, or it would be installed once more.
finish() {
  tries=0
  until report installed; do
    tries=$((tries + 1))
    [ $tries -le 30 ] ||
      fail "the system is installed, but the frontend does not accept the report of it ($(tail -n 1 "$WORK/report.log")). Run there: rocks set host boot $plan_host action=os; then start this machine again"
    sleep 10
  done
  say "installed; the machine starts again"
  sync
  reboot -f
  sleep 60
}
