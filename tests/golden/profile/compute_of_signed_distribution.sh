#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: distribution-key, installer, distribution, installer-distribution, installer-network, base, network, client, compute
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_say 'node distribution-key begins (boot pre)'
rocks_section distribution-key 'boot pre' bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDME
-----END PGP PUBLIC KEY BLOCK-----
ROCKS-END-1
rocks_file /etc/rocks/distribution-key.asc create 644 '' forget
ROCKS-END-2
rocks_say 'node distribution-key ends (boot pre)'
rocks_say 'node distribution begins (boot pre)'
rocks_section distribution 'boot pre' bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----
ROCKS-END-1
rocks_file /etc/rocks/site-authority.pem create 644 '' forget
ROCKS-END-2
rocks_section distribution 'boot pre' bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
// The frontend is recognised by the site's authority, and is reached directly.
Acquire::https::10.1.1.1::CaInfo "/etc/rocks/site-authority.pem";
Acquire::https::10.1.1.1::Proxy "DIRECT";
ROCKS-END-1
rocks_file /etc/apt/apt.conf.d/50rocks create 644 '' forget
ROCKS-END-2
rocks_section distribution 'boot pre' bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
Types: deb
URIs: https://10.1.1.1/install/distro/rocks-dist/x86_64/Debian
Suites: rocks-dist
Components: main
Signed-By: /etc/rocks/distribution-key.asc
ROCKS-END-1
rocks_file /etc/apt/sources.list.d/rocks.sources create 644 '' forget
ROCKS-END-2
rocks_say 'node distribution ends (boot pre)'
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
