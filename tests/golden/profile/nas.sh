#!/bin/bash
# Profile of host nas-0-0, printed by rocks report host profile; run it there as root.
# Nodes: base, client, img-storage-base, img-storage-nas, nas
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=nas-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb iptables kmod openssh-server python3-amqp python3-rtslib-fb zfsutils-linux
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
  rocks_warn "the image daemons need a certificate: rocks add host certificate $ROCKS_HOST, rocks sync" \
    "host certificate $ROCKS_HOST, rocks sync broker, and run the profile again"
fi
ROCKS-END-2
rocks_say 'node img-storage-base ends (post)'
rocks_say 'node img-storage-nas begins (post)'
rocks_section img-storage-nas post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
zfs
target_core_mod
target_core_iblock
iscsi_target_mod
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-imgstorage-nas.conf create 644 '' forget
rocks_module zfs target_core_mod target_core_iblock iscsi_target_mod
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
    rocks_warn "the pool $pool of the attribute img_zpools is missing: zpool create $pool mirror DISK DISK, or zpool import $pool"
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
rocks_section img-storage-nas post bash -euo pipefail <<'ROCKS-END-1'
program=/opt/rocks/libexec/rocks-imgstorage-nas
if [ ! -x "$program" ]; then
  rocks_warn "the image daemons are missing: unpack the archive of lab.imgstorage_archive below /opt/rocks, and run the profile again"
else
  rocks_link /opt/rocks/lib/systemd/rocks-imgstorage-nas.service /etc/systemd/system/rocks-imgstorage-nas.service
  if [ -s /etc/rocks/pki/node.pem ]; then
    rocks_service rocks-imgstorage-nas.service /etc/imgstorage.conf /etc/rocks/pki/node.pem /opt/rocks/lib/rocks-imgstorage.pyz
  else
    rocks_unit_enabled rocks-imgstorage-nas.service
  fi
fi
ROCKS-END-1
rocks_say 'node img-storage-nas ends (post)'
rocks_end
}
rocks_profile </dev/null
