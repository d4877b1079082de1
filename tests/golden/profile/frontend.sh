#!/bin/bash
# Profile of host head, printed by rocks report host profile; run it there as root.
# Nodes: base, server, boot-service, img-storage, nucleus, img-storage-base
[ -n "${BASH_VERSION:-}" ] || { echo 'Error: this script is for bash: type | bash, not | sh' >&2; exit 1; }
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=head

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb dnsmasq-base ipxe kmod openssh-server python3-amqp rabbitmq-server
rocks_say 'node boot-service begins (post)'
rocks_section boot-service post bash -euo pipefail <<'ROCKS-END-1'
for unit in rocks-kickstart.service rocks-boot.service; do
  if ! [ -e "/lib/systemd/system/$unit" ]; then
    rocks_warn "the unit $unit is missing: install the package rocks-cli, and run the profile again"
  elif [ -s "/etc/rocks/pki/authority/nodes/$ROCKS_HOST.pem" ]; then
    rocks_service "$unit"
  else
    rocks_unit_enabled "$unit"
    rocks_warn "$unit waits for a certificate: rocks add host certificate $ROCKS_HOST, then run the profile again"
  fi
done
ROCKS-END-1
rocks_say 'node boot-service ends (post)'
rocks_say 'node img-storage begins (post)'
rocks_section img-storage post bash -euo pipefail <<'ROCKS-END-2'
# The package gives the folder to the broker's user, who could replace what root writes there.
if [ "$(stat -c %U /etc/rabbitmq)" = rabbitmq ]; then
  chown root: /etc/rabbitmq
  rocks_changed "owner of /etc/rabbitmq"
fi
rocks_content <<'ROCKS-END-1'
listeners.tcp = none
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
heartbeat = 30
vm_memory_high_watermark.absolute = 536870912
disk_free_limit.absolute = 536870912
raft.wal_max_size_bytes = 33554432
log.console = false
log.file.rotation.size = 16777216
log.file.rotation.count = 4
ROCKS-END-1
rocks_file /etc/rabbitmq/rabbitmq.conf create 644 '' keep
rocks_content <<'ROCKS-END-1'
[{rabbit, [
  {ssl_listeners, [{"10.1.1.1", 5671}]},
  {ssl_options, [
    {cacertfile, "/etc/rabbitmq/rocks/ca.crt"},
    {certfile, "/etc/rabbitmq/rocks/broker.pem"},
    {keyfile, "/etc/rabbitmq/rocks/broker.pem"},
    {versions, ['tlsv1.3', 'tlsv1.2']},
    {verify, verify_peer},
    {fail_if_no_peer_cert, true},
    {depth, 1},
    {crl_check, true},
    {crl_cache, {ssl_crl_hash_dir, {internal, [{dir, "/etc/rabbitmq/rocks/crls"}]}}}]}]}].
ROCKS-END-1
rocks_file /etc/rabbitmq/advanced.config create 644 '' keep
rocks_content <<'ROCKS-END-1'
[rabbitmq_auth_mechanism_ssl].
ROCKS-END-1
rocks_file /etc/rabbitmq/enabled_plugins create 644 '' keep
if [ -e /etc/rabbitmq/rocks/broker.pem ]; then
  rocks_service rabbitmq-server.service /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/advanced.config \
    /etc/rabbitmq/enabled_plugins
else
  rocks_unit_enabled rabbitmq-server.service
  rocks_warn "the broker has no certificate yet: rocks add host certificate, rocks sync broker, and run the profile again"
fi
ROCKS-END-2
rocks_say 'node img-storage ends (post)'
rocks_say 'node nucleus begins (post)'
rocks_section nucleus post bash -euo pipefail <<'ROCKS-END-1'
drop_in=/etc/systemd/system/rocks-nucleus.service.d/certificate.conf
settings=/etc/rocks/nucleus.toml
pair=/etc/rocks/pki/authority/nodes/$ROCKS_HOST.pem
sets() { sed -n '/^\[listen\]/,/^\[/p' "$settings" | grep -E "^[[:space:]]*($1)[[:space:]]*=" >/dev/null; }
start_nucleus() {
  if ! /opt/rocks/bin/nucleus setup >/dev/null; then
    rocks_warn "the service for owners has no database, as the line above says: correct it, or [database] of $settings, and run the profile again"
    return 0
  fi
  rocks_service rocks-nucleus-executor.service "$settings"
  rocks_service rocks-nucleus.service "$settings" "$drop_in" "$@"
}
if systemctl is-enabled -q nginx.service 2>/dev/null && ! dpkg -V nginx-common | grep sites-available/default >/dev/null &&
  [ "$(cd /etc/nginx && echo sites-enabled/* conf.d/*)" = 'sites-enabled/default conf.d/*' ]; then
  systemctl disable -q nginx.service
  if [ -d /run/systemd/system ]; then systemctl stop nginx.service; fi
  rocks_changed "unit nginx.service disabled: it serves nothing of the site"
fi
if ! [ -e /lib/systemd/system/rocks-nucleus.service ] || ! [ -e "$settings" ]; then
  rocks_warn "owners have no service: install the package rocks-nucleus, and run the profile again; or rocks set host attr $ROCKS_HOST nucleus_service no"
elif sets 'certificate|socket'; then
  rocks_absent "$drop_in"
  start_nucleus
elif [ -s "$pair" ]; then
  {
    printf '%s\n' '[Service]' "LoadCredential=certificate.pem:$pair"
    sets address || echo Environment=NUCLEUS_LISTEN_ADDRESS=0.0.0.0
    echo Environment=NUCLEUS_LISTEN_CERTIFICATE=%d/certificate.pem NUCLEUS_LISTEN_KEY=%d/certificate.pem
  } | rocks_content
  rocks_file "$drop_in" create 644 '' forget
  start_nucleus "$pair"
else
  rocks_warn "the service for owners waits for a certificate: rocks add host certificate $ROCKS_HOST, then run the profile again"
fi
ROCKS-END-1
rocks_say 'node nucleus ends (post)'
rocks_say 'node img-storage-base begins (post)'
rocks_section img-storage-base post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
[{"name": "head", "frontend_name": "head", "network": "local", "default_pool": "tank", "img_sync_workers": "8", "secur_server": true}]
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
rocks_end
}
rocks_profile </dev/null
