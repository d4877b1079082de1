#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: installer, installer-network, base, network, client, kvm-base
[ -n "${BASH_VERSION:-}" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_rpm iproute kmod libvirt-client libvirt-daemon-kvm nftables openssh-server python3-libvirt python3-pyroute2 qemu-img qemu-kvm
# node installer: for an installer only: main
# node installer-network: for an installer only: main
rocks_say 'node network begins (post)'
rocks_section network post bash -euo pipefail <<'ROCKS-END-2'
if systemctl is-enabled -q NetworkManager.service 2>/dev/null; then
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
[connection]
id=eth0
uuid=17175636-7414-5330-8428-74890a2eb810
type=bridge
interface-name=eth0

[ethernet]
mtu=1500

[bridge]
mac-address=52:54:00:00:00:01
stp=false

[ipv4]
method=disabled

[ipv6]
method=disabled
ROCKS-END-1
rocks_file /etc/NetworkManager/system-connections/rocks-eth0.nmconnection create 600 '' forget
rocks_content <<'ROCKS-END-1'
[connection]
id=peth0
uuid=d366d033-053c-508e-8c12-b30164f5aebc
type=ethernet
interface-name=peth0
master=eth0
slave-type=bridge

[ethernet]
mtu=1500
ROCKS-END-1
rocks_file /etc/NetworkManager/system-connections/rocks-peth0.nmconnection create 600 '' forget
rocks_marked_files_absent '# Written by Rocks, which removes it when the host no longer has the device.' /etc/systemd/network/10-peth0.link /etc/NetworkManager/system-connections/rocks-eth0.nmconnection /etc/NetworkManager/system-connections/rocks-peth0.nmconnection
rocks_network
else
  rocks_say "left as it is: the network, for NetworkManager.service is not enabled; see the attribute host_network"
fi
ROCKS-END-2
rocks_say 'node network ends (post)'
rocks_say 'node kvm-base begins (post)'
rocks_section kvm-base post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
macvtap
ROCKS-END-1
rocks_file /etc/modules-load.d/rocks-kvm.conf create 644 '' forget
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
rocks_file /etc/systemd/system/virtqemud.socket.d/rocks.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Socket]
SocketMode=0600
ROCKS-END-1
rocks_file /etc/systemd/system/virtqemud-ro.socket.d/rocks.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Socket]
SocketMode=0600
ROCKS-END-1
rocks_file /etc/systemd/system/virtproxyd.socket.d/rocks.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Socket]
SocketMode=0600
ROCKS-END-1
rocks_file /etc/systemd/system/virtproxyd-ro.socket.d/rocks.conf create 644 '' forget
ROCKS-END-2
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
rocks_service virtqemud.socket
rocks_restart_if_older virtqemud.service /etc/libvirt/hooks/qemu.d /etc/libvirt/qemu.conf
ROCKS-END-1
rocks_say 'node kvm-base ends (post)'
rocks_end
}
rocks_profile </dev/null
