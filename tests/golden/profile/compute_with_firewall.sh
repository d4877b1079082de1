#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: installer, installer-network, base, firewall, network, client, compute
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb kmod nftables openssh-server
# node installer: for an installer only: main
# node installer-network: for an installer only: main
# node firewall: for an installer only: main
rocks_say 'node firewall begins (post)'
rocks_section firewall post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
# Firewall rules of host vmc-0-0, from rocks report host firewall.
# Change them with rocks add firewall and rocks remove firewall, then run rocks sync host firewall.
table ip rocks_nat
delete table ip rocks_nat
table inet rocks_filter
delete table inet rocks_filter

table inet rocks_filter {
  chain input {
    type filter hook input priority 0; policy accept;
    # always: open connections, and SSH of the frontend
    ct state { established, related } accept
    iifname "lo" accept
    tcp dport 22 tcp flags & (syn | ack) != syn accept
    ip saddr { 10.1.1.1 } tcp dport 22 accept
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept
    # A10 (global): <&> "$(x)" ]]>
    iifname "eth0" udp dport 123 accept
    # R90 (global)
    reject with icmpx port-unreachable
  }
}
ROCKS-END-1
rocks_file /etc/rocks/firewall.nft create 600 '' forget
rocks_content <<'ROCKS-END-1'
[Unit]
Description=Firewall rules of the cluster database
DefaultDependencies=no
After=local-fs.target nftables.service netfilter-persistent.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
PartOf=nftables.service
ConditionPathExists=/etc/rocks/firewall.nft

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f /etc/rocks/firewall.nft

[Install]
WantedBy=multi-user.target
ROCKS-END-1
rocks_file /etc/systemd/system/rocks-firewall.service create 644 '' forget
rocks_service rocks-firewall.service /etc/rocks/firewall.nft /etc/systemd/system/rocks-firewall.service
if rocks_is_running firewalld.service; then
  rocks_warn "firewalld runs besides the rules of this system, and what either refuses is refused: systemctl disable --now firewalld"
fi
ROCKS-END-2
rocks_say 'node firewall ends (post)'
rocks_say 'node network begins (post)'
rocks_section network post bash -euo pipefail <<'ROCKS-END-2'
if systemctl is-enabled -q systemd-networkd.service 2>/dev/null; then
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Match]
PermanentMACAddress=52:54:00:00:00:01

[Link]
Name=eth0
MTUBytes=1500
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.link create 644 '' forget
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
rocks_marked_files_absent '# Written by Rocks, which removes it when the host no longer has the device.' /etc/systemd/network/10-eth0.link /etc/systemd/network/10-eth0.network
rocks_network
else
  rocks_say "left as it is: the network, for systemd-networkd.service is not enabled; see the attribute host_network"
fi
ROCKS-END-2
rocks_say 'node network ends (post)'
rocks_end
}
rocks_profile </dev/null
