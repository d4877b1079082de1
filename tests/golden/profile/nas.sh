#!/bin/bash
# Profile of host nas-0-0, printed by rocks report host profile; run it there as root.
# Nodes: installer, installer-network, base, network, client, img-storage-base, zfs, img-storage-scans, img-storage-nas-create-zfs, img-storage-nas, nas
[ -n "${BASH_VERSION:-}" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=nas-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb iptables kmod openssh-server python3-amqp python3-rtslib-fb zfsutils-linux
# node installer: for an installer only: main
# node installer-network: for an installer only: main
rocks_say 'node network begins (post)'
rocks_section network post bash -euo pipefail <<'ROCKS-END-1'
if systemctl is-enabled -q systemd-networkd.service 2>/dev/null; then
rocks_warn 'eth0 (10.1.255.250) of host nas-0-0 is not set up: it has no MAC address: rocks set host interface mac nas-0-0 eth0 MAC'
else
  rocks_say "left as it is: the network, for systemd-networkd.service is not enabled; see the attribute host_network"
fi
ROCKS-END-1
rocks_say 'node network ends (post)'
rocks_say 'node img-storage-base begins (post)'
rocks_section img-storage-base post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
[{"name": "nas-0-0", "frontend_name": "head", "network": "storage.example.org", "default_pool": "tank", "img_sync_workers": "8"}]
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
rocks_say 'node zfs begins (post)'
rocks_section zfs post bash -euo pipefail <<'ROCKS-END-1'
rocks_module zfs
# Debian's zfsutils-linux starts this unit when it is installed, before the modules are there
rocks_failed_unit_started zfs-load-module.service
ROCKS-END-1
rocks_say 'node zfs ends (post)'
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
rocks_say 'node img-storage-nas-create-zfs begins (post)'
rocks_section img-storage-nas-create-zfs post bash -euo pipefail <<'ROCKS-END-1'
set -- tank fast
[ $# -gt 0 ] || rocks_fail "the attribute img_zpools names no pool: rocks set host attr $ROCKS_HOST img_zpools tank"
rocks_pool "$1" mirror /dev/disk/by-id/a /dev/disk/by-id/b mirror /dev/sdc /dev/sdd
ROCKS-END-1
rocks_say 'node img-storage-nas-create-zfs ends (post)'
rocks_say 'node img-storage-nas begins (post)'
rocks_section img-storage-nas post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
zfs
target_core_mod
target_core_iblock
iscsi_target_mod
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-imgstorage-nas.conf create 644 '' forget
rocks_module target_core_mod target_core_iblock iscsi_target_mod
# rtslib insists on its folders, and its package does not make all of them
rocks_folder /etc/target 755
for folder in '' /pr /alua; do rocks_folder "/etc/rtslib-fb-target$folder" 755; done
# the daemon makes the targets from its own records; targets that another unit restores would conflict
for unit in rtslib-fb-targetctl.service target.service; do
  if systemctl is-enabled -q "$unit" 2>/dev/null; then
    systemctl disable -q "$unit"
    rocks_changed "unit $unit disabled: the image daemon makes the targets"
  fi
done
for pool in tank fast; do
  zpool list -H -o name "$pool" >/dev/null 2>&1 ||
    rocks_warn "the pool $pool of the attribute img_zpools is missing: zpool create $pool mirror DISK DISK, or zpool import -d /dev/disk/by-id $pool"
done
ROCKS-END-2
rocks_section img-storage-nas post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
# iSCSI (3260) and image transfers (7443) come from the storage network, or not at all.
*filter
:ROCKS-STORAGE - [0:0]
-A ROCKS-STORAGE -i lo -j RETURN
-A ROCKS-STORAGE -s 10.9.0.0/16 -j RETURN
-A ROCKS-STORAGE -j REJECT
COMMIT
ROCKS-END-1
rocks_file /etc/rocks/storage-firewall.rules create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Image storage: iSCSI and transfers from the storage network only
Before=rocks-imgstorage-nas.service
After=nftables.service firewalld.service netfilter-persistent.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=iptables-restore --noflush /etc/rocks/storage-firewall.rules
ExecStart=sh -c 'iptables -C INPUT -p tcp -m multiport --dports 3260,7443 -j ROCKS-STORAGE 2>/dev/null || \
  exec iptables -I INPUT -p tcp -m multiport --dports 3260,7443 -j ROCKS-STORAGE'

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/rocks-storage-firewall.service create 644 '' forget
rocks_service rocks-storage-firewall.service /etc/rocks/storage-firewall.rules \
  /etc/systemd/system/rocks-storage-firewall.service
ROCKS-END-2
rocks_section img-storage-nas post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Image storage: the daemon of a NAS starts when its certificate is deployed

[Path]
PathChanged=/etc/rocks/pki/node.pem

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/rocks-imgstorage-nas.path create 644 '' forget
program=/opt/rocks/libexec/rocks-imgstorage-nas
if [ ! -x "$program" ]; then
  rocks_warn "the image daemon is missing: install the package rocks-imgstorage-nas, and run the profile again"
else
  if [ -s /etc/rocks/pki/node.pem ]; then
    rocks_service rocks-imgstorage-nas.service /etc/imgstorage.conf /etc/rocks/pki/node.pem \
      /opt/rocks/lib/python/rocks/__init__.py
  else
    rocks_unit_enabled rocks-imgstorage-nas.service
    rocks_service rocks-imgstorage-nas.path
  fi
fi
ROCKS-END-2
rocks_say 'node img-storage-nas ends (post)'
rocks_end
}
rocks_profile </dev/null
