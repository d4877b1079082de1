#!/bin/bash
# Profile of host vmc-0-0, printed by rocks report host profile; run it there as root.
# Nodes: base, client, compute
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ROCKS_HOST=vmc-0-0

# (functions)
for name in $(compgen -A function rocks_); do export -f "${name?}"; done

rocks_profile() {
rocks_begin
rocks_packages_deb kmod openssh-server
rocks_end
}
rocks_profile </dev/null
