# shellcheck shell=dash
# shellcheck disable=SC2154 # reply is set by ask_hidden
# A saved site among what the site brings along (`rocks save site medium=…`): everything that can be checked before a disk is
# opened. The first boot restores it. The form of the file is that of src/rocks/trust/encrypted_file.py.

# about NAME: a value of the file beside the saved site; nothing where a person made the medium without that file.
about() { sed -n "s/^$1 = //p" "$FROM/$RESTORE.about" 2>/dev/null; }

# check_restore: problems of the file that the answers name, which becomes $RESTORE.
check_restore() {
  RESTORE=$(answer install_restore)
  [ -n "$RESTORE" ] || return 0
  what="install_restore: $RESTORE"
  if [ ! -s "$FROM/$RESTORE" ]; then
    problem "$what is not on the medium with the answers, or it is empty"
    return
  fi
  case $(head -c 13 "$FROM/$RESTORE" | head -n 1) in
    'rocks-site 1' | 'rocks-site 2') ;;
    *)
      problem "$what is no file of rocks save site, or newer programs saved it"
      return
      ;;
  esac
  [ -s "$FROM/$RESTORE.about" ] || return 0
  [ "$(about frontend)" = "$(answer Kickstart_PrivateHostname)" ] ||
    problem "$what is the site of $(about frontend), and Kickstart_PrivateHostname is $(answer Kickstart_PrivateHostname)"
  here=$(sed 's/-.*//' "$MEDIUM/frontend/version")
  [ "$(printf '%s\n' "$here" "$(about version)" | sort -V | tail -n 1)" = "$here" ] ||
    problem "$what was saved by version $(about version), and this medium has $here: use a newer medium"
  [ "$(sha256sum <"$FROM/$RESTORE" | cut -d' ' -f1)" = "$(about sha256)" ] ||
    problem "$what is damaged or cut off: its checksum is not that of $RESTORE.about. Copy it again, or use another copy"
}

hexadecimal() { od -v -A n -t x1 | tr -d ' \n'; }

# passphrase_fits: whether the first line of the file passphrase opens the saved site, by the check in its header.
passphrase_fits() {
  head -c 4096 "$FROM/$RESTORE" | head -n 2 >"$WORK/header"
  field() { sed -n "2s/.*\"$1\": \"\{0,1\}\([^\",}]*\).*/\1/p" "$WORK/header"; }
  # the second half of what scrypt makes is the key of that check
  key=$(run_openssl kdf -keylen 64 -kdfopt "hexpass:$(head -n 1 "$GIVEN/passphrase" | tr -d '\r\n' | hexadecimal)" \
    -kdfopt "hexsalt:$(field salt | base64 -d | hexadecimal)" -kdfopt "n:$(field scrypt)" -kdfopt r:8 -kdfopt p:1 \
    -kdfopt maxmem_bytes:2000000000 SCRYPT 2>"$WORK/kdf.log" | tr -d ':\n' | cut -c65-)
  made=$(sed '2s/"check": "[^"]*"/"check": ""/' "$WORK/header" |
    run_openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary 2>/dev/null | hexadecimal)
  [ -n "$key" ] || fail "$RESTORE cannot be tried with a passphrase, and nothing was changed: $(tail -n 1 "$WORK/kdf.log")"
  [ "$made" = "$(field check | base64 -d | hexadecimal)" ]
}

# get_passphrase: from the medium, else of a person; a wrong one ends here, before a disk is opened.
get_passphrase() {
  [ -n "$RESTORE" ] || return 0
  if [ -s "$GIVEN/passphrase" ]; then
    passphrase_fits ||
      fail "the passphrase on the medium is not that of $RESTORE, and nothing was changed: correct the file passphrase, or remove it to be asked"
    return
  fi
  until [ -s "$GIVEN/passphrase" ] && passphrase_fits; do
    [ ! -s "$GIVEN/passphrase" ] || show "  this is not the passphrase of $RESTORE"
    ask_hidden "Passphrase of the saved site $RESTORE"
    (umask 077 && printf '%s\n' "$reply" >"$GIVEN/passphrase")
  done
}

# check_room: a database is many times as large as its packed copy, and the restore has it twice for a while.
check_room() {
  [ -n "$RESTORE" ] || return 0
  needed=$((2000 + $(stat -c %s "$FROM/$RESTORE") * 20 / 1048576))
  # the database is in /var/opt/rocks
  for place in /var/opt/rocks /var/opt /var /; do
    room=$(sed -n "s|^[^ ]* \\([^ ]*\\) ext4 $place\$|\\1|p" "$WORK/plan.partitions")
    [ -z "$room" ] || break
  done
  [ "$room" != rest ] || room=$(rest_mib)
  [ "$room" -ge "$needed" ] ||
    fail "the partition for $place has $room MiB, and the restore of $RESTORE needs $needed: nothing was changed. Correct install_partitions"
}
