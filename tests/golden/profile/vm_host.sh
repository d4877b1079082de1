#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: installer, installer-network, base, network, client, img-storage-base, kvm-base, huge-pages, img-storage-scans, img-storage-vm
[ -n "${BASH_VERSION:-}" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb dmsetup iproute2 kmod libvirt-clients libvirt-daemon-system nftables open-iscsi openssh-server python3-amqp python3-libvirt python3-pyroute2 qemu-system-x86 qemu-utils
# node installer: for an installer only: main
# node installer-network: for an installer only: main
rocks_say 'node network begins (post)'
rocks_section network post bash -euo pipefail <<'ROCKS-END-2'
if systemctl is-enabled -q systemd-networkd.service 2>/dev/null; then
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Match]
PermanentMACAddress=52:54:00:00:00:01

[Link]
Name=peth0
MTUBytes=1500
ROCKS-END-1
rocks_file /etc/systemd/network/10-peth0.link create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[NetDev]
Name=eth0
Kind=bridge
MACAddress=52:54:00:00:00:01
MTUBytes=1500

[Bridge]
STP=no
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.netdev create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Match]
Name=peth0

[Network]
Bridge=eth0
LinkLocalAddressing=no
ROCKS-END-1
rocks_file /etc/systemd/network/10-peth0.network create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Match]
Name=eth0

[Link]
RequiredForOnline=no

[Network]
LinkLocalAddressing=no
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.network create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Service]
ExecStartPre=+-/usr/bin/udevadm wait --timeout=180 /sys/class/net/peth0
TimeoutStartSec=300
ROCKS-END-1
rocks_file /etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Unit]
ConditionPathExists=!/sys/class/net
ROCKS-END-1
rocks_file /etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf create 644 '' forget
rocks_marked_files_absent '# Written by Rocks, which removes it when the host no longer has the device.' /etc/systemd/network/10-peth0.link /etc/systemd/network/10-eth0.netdev /etc/systemd/network/10-peth0.network /etc/systemd/network/10-eth0.network /etc/systemd/system/systemd-networkd.service.d/rocks-bridges.conf /etc/systemd/system/systemd-networkd.socket.d/rocks-bridges.conf
rocks_network
else
  rocks_say "left as it is: the network, for systemd-networkd.service is not enabled; see the attribute host_network"
fi
ROCKS-END-2
rocks_say 'node network ends (post)'
rocks_say 'node img-storage-base begins (post)'
rocks_section img-storage-base post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
[{"name": "vmc-0-0", "frontend_name": "head", "network": "local", "default_pool": "tank", "img_sync_workers": "8"}]
ROCKS-END-1
rocks_file /etc/imgstorage.conf create 644 '' keep
rocks_folder /etc/rocks/pki 755
if [ -s /etc/rocks/pki/node.pem ]; then
  # it holds the machine's own key
  if [ "$(stat -c '%a %u' /etc/rocks/pki/node.pem)" != '600 0' ]; then
    chown root: /etc/rocks/pki/node.pem
    chmod 600 /etc/rocks/pki/node.pem
    rocks_changed "permissions of /etc/rocks/pki/node.pem"
  fi
else
  rocks_warn "the image daemon waits for its certificate; on the frontend: rocks add host certificate $ROCKS_HOST," \
    "rocks sync host certificate $ROCKS_HOST, rocks sync broker"
fi
ROCKS-END-2
rocks_say 'node img-storage-base ends (post)'
rocks_say 'node kvm-base begins (post)'
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
8021q
macvtap
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-kvm.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
nf_tables
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-filter.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
# The host's firewall does not filter guests' frames on bridges. The dash ignores the setting without a bridge filter.
-net.bridge.bridge-nf-call-iptables = 0
-net.bridge.bridge-nf-call-ip6tables = 0
-net.bridge.bridge-nf-call-arptables = 0
ROCKS-END-1
rocks_file /etc/sysctl.d/90-rocks-kvm.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Rocks: a screen without an address of its own is a unix socket that only root reaches
vnc_auto_unix_socket = 1
spice_auto_unix_socket = 1
ROCKS-END-1
rocks_file /etc/libvirt/qemu.conf append '' '' forget
rocks_content <<'ROCKS-END-1'
[Socket]
SocketMode=0600
ROCKS-END-1
rocks_file /etc/systemd/system/libvirtd.socket.d/rocks.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Socket]
SocketMode=0600
ROCKS-END-1
rocks_file /etc/systemd/system/libvirtd-ro.socket.d/rocks.conf create 644 '' forget
ROCKS-END-2
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-1'
rocks_module 8021q
ROCKS-END-1
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-1'
rocks_module nf_tables
ROCKS-END-1
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-1'
rocks_module macvtap
for setting in /proc/sys/net/bridge/bridge-nf-call-{ip,ip6,arp}tables; do
  if [ -e "$setting" ] && [ "$(cat "$setting")" != 0 ]; then
    echo 0 >"$setting"
    rocks_changed "$setting"
  fi
done
if [ -x /opt/rocks/libexec/rocks-libvirt-hook ]; then
  rocks_link /opt/rocks/libexec/rocks-libvirt-hook /etc/libvirt/hooks/qemu.d/rocks
  # an archive of the agent has its units there; the package rocks-agent has them among systemd's own
  for unit in rocks-links.service rocks-agent.service rocks-agent.socket; do
    if [ -e "/opt/rocks/lib/systemd/$unit" ]; then
      rocks_link "/opt/rocks/lib/systemd/$unit" "/etc/systemd/system/$unit"
    fi
  done
  rocks_unit_enabled rocks-links.service
  if systemctl cat rocks-agent.socket >/dev/null 2>&1; then
    rocks_service rocks-agent.socket
  fi
else
  rocks_warn "the host agent is missing: install the package rocks-agent, and run the profile again"
fi
ROCKS-END-1
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-1'
for unit in {libvirtd,virtproxyd}-{tcp,tls}.socket; do
  rocks_link /dev/null "/etc/systemd/system/$unit" # masked
  if rocks_is_running "$unit"; then
    systemctl stop -- "$unit"
    rocks_changed "unit $unit stopped"
  fi
done
for socket in /run/libvirt/{libvirt,virtqemud}-sock{,-ro}; do
  # the mode of the unit counts at the next boot
  if [ -S "$socket" ] && [ "$(stat -c %a -- "$socket")" != 600 ]; then
    chmod 600 -- "$socket"
    rocks_changed "permissions of $socket"
  fi
done
ROCKS-END-1
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-1'
rocks_service libvirtd.socket
rocks_restart_if_older libvirtd.service /etc/libvirt/hooks/qemu.d /etc/libvirt/qemu.conf
ROCKS-END-1
rocks_say 'node kvm-base ends (post)'
rocks_say 'node huge-pages begins (post)'
rocks_section huge-pages post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
w /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages - - - - 1024
w /sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages - - - - 8
ROCKS-END-1
rocks_file /etc/tmpfiles.d/rocks-huge-pages.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Huge pages of 2 MB for virtual machines
ConditionPathExists=/sys/kernel/mm/hugepages/hugepages-2048kB
Before=libvirtd.service virtqemud.service

[Mount]
What=hugetlbfs
Where=/dev/hugepages2M
Type=hugetlbfs
Options=pagesize=2M,mode=0755

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/dev-hugepages2M.mount create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Huge pages of 1 GB for virtual machines
ConditionPathExists=/sys/kernel/mm/hugepages/hugepages-1048576kB
Before=libvirtd.service virtqemud.service

[Mount]
What=hugetlbfs
Where=/dev/hugepages1G
Type=hugetlbfs
Options=pagesize=1G,mode=0755

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/dev-hugepages1G.mount create 644 '' forget
ROCKS-END-2
rocks_section huge-pages post bash -euo pipefail <<'ROCKS-END-1'
while read -r _ file _ _ _ _ pages; do
  if ! [ -d /run/systemd/system ]; then
    break # not booted: they are reserved at the boot
  elif ! [ -e "$file" ]; then
    rocks_warn "this host has no $file: correct its attribute vm_hugepages, and run the profile again"
  elif [ "$(cat -- "$file")" != "$pages" ]; then
    before=$(cat -- "$file")
    echo "$pages" >"$file"
    now=$(cat -- "$file")
    [ "$now" = "$before" ] || rocks_changed "$file: $now huge pages"
    [ "$now" = "$pages" ] ||
      rocks_warn "the kernel has $now of $pages huge pages ($file): restart this host, or reserve fewer in vm_hugepages"
  fi
done </etc/tmpfiles.d/rocks-huge-pages.conf
for size in 2M 1G; do
  case $size in 2M) kilobytes=2048 ;; 1G) kilobytes=1048576 ;; esac
  if [ -d "/sys/kernel/mm/hugepages/hugepages-${kilobytes}kB" ]; then
    rocks_service "dev-hugepages$size.mount"
  fi
done
ROCKS-END-1
rocks_section huge-pages post bash -euo pipefail <<'ROCKS-END-1'
rocks_restart_if_older libvirtd.service /etc/systemd/system/dev-hugepages2M.mount
ROCKS-END-1
rocks_say 'node huge-pages ends (post)'
rocks_say 'node img-storage-scans begins (post)'
rocks_section img-storage-scans post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
# ZFS volumes, device-mapper devices and iSCSI disks of image storage, and their partitions, are disks of guests. A guest
# writes what it likes there; a volume group or a pool with the name of the host's must not be taken for the host's.
SUBSYSTEM!="block", GOTO="rocks_guest_disks_end"
ACTION=="remove", GOTO="rocks_guest_disks_end"
ENV{DEVTYPE}=="partition", IMPORT{parent}="ROCKS_GUEST_DISK"
KERNEL=="zd[0-9]*", ENV{ROCKS_GUEST_DISK}="1"
ENV{DM_UUID}=="ROCKS-?*", ENV{ROCKS_GUEST_DISK}="1"
KERNEL=="sd*", ENV{DEVTYPE}=="disk", ATTRS{vendor}=="LIO-ORG*", \
  PROGRAM="/bin/sh -c 'cat /sys/class/block/%k/device/../../iscsi_session/session*/targetname'", \
  RESULT=="iqn.2001-04.com.*", ENV{ROCKS_GUEST_DISK}="1", IMPORT{builtin}="path_id"
ENV{ROCKS_GUEST_DISK}!="1", GOTO="rocks_guest_disks_end"
ENV{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}="1"
ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}="1"
ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"
ENV{SYSTEMD_READY}="0"
ENV{UDISKS_IGNORE}="1"
SYMLINK+="rocks-guest-disks/%k"
# by this name the daemon finds the disk of a session; it comes from the session and not from the disk
KERNEL=="sd*", ENV{DEVTYPE}=="disk", ENV{ID_PATH}=="?*", SYMLINK+="disk/by-path/$env{ID_PATH}"
LABEL="rocks_guest_disks_end"
ROCKS-END-1
rocks_file /etc/udev/rules.d/57-rocks-guest-disks.rules create 644 '' forget
rocks_content <<'ROCKS-END-1'
blacklist {
    property "ROCKS_GUEST_DISK"
    device {
        vendor "^LIO-ORG"
        product ".*"
    }
}
ROCKS-END-1
rocks_file /etc/multipath/conf.d/rocks-guest-disks.conf create 644 '' forget
if grep -qxF 'file /etc/udev/rules.d/57-rocks-guest-disks.rules' "$ROCKS_WORK/changes" && [ -S /run/udev/control ]; then
  udevadm control --reload
  udevadm trigger --subsystem-match=block --action=change --settle
fi
if grep -qxF 'file /etc/multipath/conf.d/rocks-guest-disks.conf' "$ROCKS_WORK/changes" && rocks_is_running multipathd.service; then
  systemctl reload multipathd.service || rocks_warn "multipathd still takes disks of guests: systemctl restart multipathd"
fi
ROCKS-END-2
rocks_section img-storage-scans post bash -euo pipefail <<'ROCKS-END-1'
# LVM reads all devices itself, whatever udev says
lvm=/etc/lvm/lvm.conf own='"r|^/dev/rocks-guest-disks/|"'
if [ -f "$lvm" ]; then
  if ! grep -Eq '^[[:space:]]*global_filter[[:space:]]*=' "$lvm"; then
    awk -v line="	global_filter = [ $own ]" \
      '{ print } /^[[:space:]]*devices[[:space:]]*\{/ { print line; done = 1 } END { if (!done) print "devices {\n" line "\n}" }' \
      "$lvm" | rocks_content
    rocks_file "$lvm" create '' '' keep
  elif ! grep -E '^[[:space:]]*global_filter[[:space:]]*=' "$lvm" | grep -qF "$own"; then
    rocks_warn "$lvm has a global_filter without the guests' disks: put $own first in its list"
  fi
fi
# mdadm as well, when it is asked to assemble all that it finds
for mdadm in /etc/mdadm/mdadm.conf /etc/mdadm.conf; do
  [ -f "$mdadm" ] || continue
  grep -Eqi '^[[:space:]]*AUTO[[:space:]]' "$mdadm" && continue
  unlisted=$(mdadm --detail --scan 2>/dev/null | grep -o 'UUID=[0-9a-f:]*' | grep -vwFf "$mdadm" || true)
  if [ -z "$unlisted" ]; then
    { cat "$mdadm" && printf '# only arrays that are listed here; guests have arrays on their disks\nAUTO -all\n'; } | rocks_content
    rocks_file "$mdadm" create '' '' keep
  else
    rocks_warn "$mdadm does not list the array with $unlisted: add it (mdadm --detail --scan), then run the profile again, which adds AUTO -all"
  fi
done
# a host imports the pools of its cache file, and none that it finds
if systemctl is-enabled -q zfs-import-scan.service 2>/dev/null; then
  systemctl disable -q zfs-import-scan.service
  rocks_changed "unit zfs-import-scan.service disabled: it imports pools of guests"
fi
ROCKS-END-1
rocks_say 'node img-storage-scans ends (post)'
rocks_say 'node img-storage-vm begins (post)'
rocks_section img-storage-vm post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
iscsi_tcp
dm_mod
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-imgstorage-vm.conf create 644 '' forget
if [ -e /etc/iscsi/iscsid.conf ]; then cat -- /etc/iscsi/iscsid.conf; fi | {
sed -e 's/^[# ]*node\.startup *=.*/node.startup = manual/' -e 's/^[# ]*node\.session\.scan *=.*/node.session.scan = manual/' |
  awk '/^node\.startup = / && startup++ { next }
       /^node\.session\.scan = / && scan++ { next }
       { print }
       END { if (!startup) print "node.startup = manual"; if (!scan) print "node.session.scan = manual" }'
} | rocks_content
rocks_file /etc/iscsi/iscsid.conf create '' '' keep
rocks_module iscsi_tcp dm_mod
ROCKS-END-2
rocks_section img-storage-vm post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Image storage: the daemon of a host starts when its certificate is deployed

[Path]
PathChanged=/etc/rocks/pki/node.pem

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/rocks-imgstorage-host.path create 644 '' forget
rocks_service iscsid.socket
program=/opt/rocks/libexec/rocks-imgstorage-host
if [ ! -x "$program" ]; then
  rocks_warn "the image daemon is missing: install the package rocks-imgstorage-host, and run the profile again"
else
  if [ -s /etc/rocks/pki/node.pem ]; then
    rocks_service rocks-imgstorage-host.service /etc/imgstorage.conf /etc/rocks/pki/node.pem \
      /opt/rocks/lib/python/rocks/__init__.py
  else
    rocks_unit_enabled rocks-imgstorage-host.service
    rocks_service rocks-imgstorage-host.path
  fi
fi
ROCKS-END-2
rocks_say 'node img-storage-vm ends (post)'
rocks_end
}
rocks_profile </dev/null
