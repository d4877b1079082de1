# shellcheck shell=dash
# shellcheck disable=SC2034 # plan_… are read by the other parts
# The plan of one host: a text file of lines "KEY VALUE". Its form is defined by src/rocks/install/installation/plan.py.
# Everything in it is checked here again, character by character: an unknown key, a missing one, a line too many or a file
# that was cut off ends the installation before any disk is opened.

# read_plan FILE: sets plan_… and writes the lists $WORK/plan.{disks,partitions,interfaces,nameservers,keys}.
read_plan() {
  [ "$(wc -c <"$1")" -le 65536 ] || fail "the plan is larger than 64 KiB: it is not a plan of this frontend"
  [ "$(head -n 1 "$1")" = "rocks-install-plan 1" ] ||
    fail "the plan does not begin with the line \"rocks-install-plan 1\": frontend and installer are of different releases; run make installer there"
  [ "$(tail -n 1 "$1")" = end ] || fail "the plan has no last line \"end\": it was cut off on its way; start the machine again"
  if LC_ALL=C grep -q '[^ -~]' "$1"; then fail "the plan contains characters that are not plain ASCII"; fi
  plan_host='' plan_domain='' plan_installation='' plan_gateway='' plan_overwrite='' plan_kernel_arguments=''
  plan_archive='' plan_archive_sha256='' plan_profile='' plan_progress='' plan_complete=''
  for list in disks partitions interfaces nameservers keys; do : >"$WORK/plan.$list"; done
  number=1
  sed 1d "$1" >"$WORK/plan.lines"
  while IFS= read -r line; do
    number=$((number + 1))
    [ -z "$plan_complete" ] || bad_line "it follows the line \"end\""
    read_line "${line%% *}" "${line#* }"
  done <"$WORK/plan.lines"
  check_plan
}

bad_line() { fail "line $number of the plan is not valid ($1): $line"; }

# matches TEXT EXPRESSION: whether the whole text matches an extended regular expression.
matches() { printf '%s\n' "$1" | grep -qxE "$2"; }

HOST_NAME='[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?'
DOMAIN='[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*'
# of an adapter, or of a VLAN on one, such as eth0.100
DEVICE_NAME='([A-Za-z][A-Za-z0-9_-]{0,14}|[A-Za-z][A-Za-z0-9_-]{0,9}\.([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4]))'
ADDRESS='([0-9]{1,3}\.){3}[0-9]{1,3}'
# a line of authorized_keys, perhaps with options, or of a key on a token (sk-); with command= nobody could log in
KEY_OPTION='(from|environment|expiry-time|permitlisten|permitopen|principals|tunnel)="([^"\]|\\.)*"|cert-authority|restrict|verify-required|no-touch-required|(no-)?(agent-forwarding|port-forwarding|pty|user-rc|[Xx]11-forwarding)'
KEY="(($KEY_OPTION)(,($KEY_OPTION))* +)?(ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)[A-Za-z0-9@.-]+ +[A-Za-z0-9+/=]+( [ -~]*)?"
URL="https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9/._~%?&=+,;@:-]*"

# once VARIABLE VALUE EXPRESSION: a key that may stand once.
once() {
  eval "[ -z \"\$$1\" ]" || bad_line "the key stands there twice"
  matches "$2" "$3" || bad_line "the value is not allowed"
  eval "$1=\$2"
}

# several LIST VALUE EXPRESSION MOST
several() {
  matches "$2" "$3" || bad_line "the value is not allowed"
  [ "$(wc -l <"$WORK/plan.$1")" -lt "$4" ] || bad_line "there are more than $4 of them"
  printf '%s\n' "$2" >>"$WORK/plan.$1"
}

read_line() {
  case $1 in
    host) once plan_host "$2" "$HOST_NAME" ;;
    domain) once plan_domain "$2" "$DOMAIN" ;;
    installation) once plan_installation "$2" '[0-9a-f]{16}' ;;
    interface) several interfaces "$2" "$DEVICE_NAME ([0-9a-f]{2}:){5}[0-9a-f]{2} $ADDRESS/[0-9]{1,2} [0-9]{3,5}" 16 ;;
    gateway) once plan_gateway "$2" "$ADDRESS" ;;
    nameserver) several nameservers "$2" "$ADDRESS" 3 ;;
    disk) several disks "$2" '(smallest|serial [A-Za-z0-9_.:-]{1,64}|path (/dev/[a-z0-9]{1,16}|pci-[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]))' 2 ;;
    overwrite) once plan_overwrite "$2" 'yes|no' ;;
    partition) several partitions "$2" '[a-z][a-z0-9]{0,14} ([1-9][0-9]{0,8}|rest) (ext4 /([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?|(swap|none) -)' 16 ;;
    kernel-arguments) once plan_kernel_arguments "$2" '[A-Za-z0-9=,._:/+@ -]{1,500}' ;;
    archive) once plan_archive "$2" "$URL|medium:[a-z./]+" ;;
    archive-sha256) once plan_archive_sha256 "$2" '[0-9a-f]{64}' ;;
    authorized-key) several keys "$2" "$KEY" 8 ;;
    profile) once plan_profile "$2" "$URL" ;;
    progress) once plan_progress "$2" "$URL" ;;
    end) plan_complete=yes ;;
    *) bad_line "the key is unknown" ;;
  esac
}

check_plan() {
  # a medium has the archive beside the installer: nobody is reported to, and root may have a password instead of a key
  for_hosts='progress authorized-keys'
  case $plan_archive in medium:*) for_hosts='' ;; esac
  for key in host installation overwrite archive archive_sha256 ${for_hosts%% *}; do
    eval "[ -n \"\$plan_$key\" ]" || fail "the plan has no line \"$(echo "$key" | tr _ -)\""
  done
  for list in disks partitions interfaces ${for_hosts##* }; do
    [ -s "$WORK/plan.${list#authorized-}" ] || fail "the plan has no line \"${list%s}\""
  done
  [ "$(grep -c ' ext4 /$' "$WORK/plan.partitions")" -eq 1 ] || fail "the plan has no partition for /, or several"
  [ -z "$(cut -d' ' -f1 "$WORK/plan.partitions" | sort | uniq -d)" ] || fail "two partitions of the plan have the same name"
  if sed '$d' "$WORK/plan.partitions" | grep -q ' rest '; then
    fail "a partition of the plan has the size rest and is not the last one"
  fi
}
