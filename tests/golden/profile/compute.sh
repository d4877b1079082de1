#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: installer, installer-network, base, network, client, compute
[ -n "${BASH_VERSION:-}" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb kmod openssh-server
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
Name=eth0
MTUBytes=1500
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.link create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Match]
Name=eth0

[Network]
Address=10.1.255.254/16
LinkLocalAddressing=no
Gateway=10.1.1.1
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.network create 644 '' forget
rocks_content <<'ROCKS-END-1'
# Written by Rocks, which removes it when the host no longer has the device.
[Route]
Destination=10.2.0.0/16
Gateway=10.1.1.2

[Route]
Destination=224.0.0.0/24
ROCKS-END-1
rocks_file /etc/systemd/network/10-eth0.network.d/routes.conf create 644 '' forget
rocks_marked_files_absent '# Written by Rocks, which removes it when the host no longer has the device.' /etc/systemd/network/10-eth0.link /etc/systemd/network/10-eth0.network /etc/systemd/network/10-eth0.network.d/routes.conf
rocks_network
rocks_warn 'the route to 10.3.0.0/16 is left out, for no device is on the network of its gateway 192.0.2.1: rocks list host interface vmc-0-0'
else
  rocks_say "left as it is: the network, for systemd-networkd.service is not enabled; see the attribute host_network"
fi
ROCKS-END-2
rocks_say 'node network ends (post)'
rocks_end
}
rocks_profile </dev/null
