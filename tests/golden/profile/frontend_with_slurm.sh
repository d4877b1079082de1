#!/bin/bash
# Profile of host head, printed by rocks report host profile; run it there as root.
# Nodes: base, server, img-storage, nucleus, img-storage-base, munge, slurm-server
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=head

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb kmod munge openssh-server python3-amqp rabbitmq-server slurm-client slurmctld slurmdbd
rocks_say 'node img-storage begins (post)'
rocks_section img-storage post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
listeners.tcp = none
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
heartbeat = 30
vm_memory_high_watermark.absolute = 536870912
disk_free_limit.absolute = 536870912
raft.wal_max_size_bytes = 33554432
log.console = false
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
rocks_say 'node munge begins (post)'
rocks_section munge post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
#!/bin/sh
# have munged run with the key on the standard input
set -e
umask 077
key=/etc/munge/munge.key
new=$(mktemp "$0.XXXXXX") # in a folder of root's: /etc/munge is munge's, who could have a link there
trap 'rm -f "$new"' EXIT
cat >"$new"
if [ "$(wc -c <"$new")" -lt 32 ]; then
  echo "the attribute munge_key has less than 32 characters: openssl rand -hex 64 | rocks set sec_attr munge_key" >&2
  exit 1
fi
is_booted() { [ -d /run/systemd/system ]; }
# munged may run with the former key, when this was killed before the restart
munged_is_older() {
  is_booted && systemctl is-active -q munge.service || return 1
  started=$(date -d "$(TZ=UTC systemctl show --value -p ActiveEnterTimestamp munge.service)" +%s)
  [ "$(stat -c %Z "$key")" -gt "$started" ]
}
# a FIFO in the place of the key is not waited for
has_key() { [ -f "$key" ] && dd if="$key" iflag=nofollow,nonblock status=none 2>/dev/null | cmp -s "$new" -; }
if ! has_key; then
  chown munge: "$new"
  chmod 400 "$new"
  mv -fT "$new" "$key"
elif ! munged_is_older; then
  exit 0
fi
if is_booted; then systemctl restart munge.service; fi
echo "changed: $key"
ROCKS-END-1
rocks_file /etc/rocks/sec_attr.d/munge_key create 755 '' forget
value=/etc/rocks/sec_attr/munge_key
if [ -s "$value" ]; then
  changed=$(/etc/rocks/sec_attr.d/munge_key <"$value")
  if [ -n "$changed" ]; then rocks_changed "file /etc/munge/munge.key"; fi
  rocks_service munge.service /etc/munge/munge.key
else
  rocks_warn "Slurm waits for the key of the site: rocks sync host sec_attr $ROCKS_HOST on the frontend, then run the profile again; to make one: openssl rand -hex 64 | rocks set sec_attr munge_key"
fi
ROCKS-END-2
rocks_say 'node munge ends (post)'
rocks_say 'node slurm-server begins (post)'
rocks_section slurm-server post bash -euo pipefail <<'ROCKS-END-2'
rocks_content <<'ROCKS-END-1'
AuthType=auth/munge
DbdHost=localhost
SlurmUser=slurm
PidFile=/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StorageLoc=slurm_acct_db
ROCKS-END-1
rocks_file /etc/slurm/slurmdbd.conf create 600 slurm forget
rocks_content <<'ROCKS-END-1'
[Unit]
After=rocks-database.service

[Service]
Environment=MYSQL_UNIX_PORT=/var/opt/rocks/mysql/mysql.sock
Restart=on-failure
RestartSec=5
ROCKS-END-1
rocks_file /etc/systemd/system/slurmdbd.service.d/rocks.conf create 644 '' forget
rocks_content <<'ROCKS-END-1'
[Unit]
After=slurmdbd.service

[Service]
# it ends at its first start when slurmdbd does not answer yet
Restart=on-failure
RestartSec=5
ROCKS-END-1
rocks_file /etc/systemd/system/slurmctld.service.d/rocks.conf create 644 '' forget
socket=/var/opt/rocks/mysql/mysql.sock
if ! [ -s /etc/rocks/sec_attr/munge_key ]; then
  : # the node munge has warned
elif ! [ -S "$socket" ]; then
  rocks_warn "Slurm waits for the MariaDB of this system: systemctl start rocks-database, then run the profile again"
else
  mariadb --socket="$socket" --user=root --execute "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
    CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON slurm_acct_db.* TO slurm@localhost"
  rocks_service slurmdbd.service /etc/slurm/slurmdbd.conf /etc/systemd/system/slurmdbd.service.d/rocks.conf /etc/munge/munge.key
  rocks_unit_enabled slurmctld.service
  if ! [ -d /run/systemd/system ]; then
    : # slurmctld starts at the boot
  else
    /opt/rocks/bin/rocks sync slurm || rocks_warn "rocks sync slurm is not complete; the line above says why. Repeat it"
    # it reads the numbers of users when it starts
    rocks_restart_if_older slurmctld.service /etc/munge/munge.key /etc/passwd
  fi
fi
ROCKS-END-2
rocks_say 'node slurm-server ends (post)'
rocks_end
}
rocks_profile </dev/null
