# shellcheck shell=dash
# What the installer says: to the console, and to the frontend.

# say TEXT…: a line on the console, with the seconds since the kernel started.
say() {
  printf '[installer %s] %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*" >"$CONSOLE"
}

# stage NAME [DETAIL…]: a line on the console and on the frontend. A frontend that does not answer stops nothing.
stage() {
  say "$@"
  report "$@" || true
}

# fail TEXT…: end the installation. The reason is for a person: what happened, to what, what to do.
fail() {
  printf '%s\n' "$*" >"$WORK/failure"
  printf 'Error: %s\n' "$*" >&2
  exit 1
}

# end TEXT…: there is nothing to install.
end() {
  printf '%s\n' "$*" >"$WORK/ended"
  exit 0
}

# report NAME [DETAIL…]: send the line "NAME DETAIL…" to the plan's progress address, if it has one. Fails when it is not
# accepted.
report() {
  [ -n "${plan_progress-}" ] || return 0
  printf '%s' "$*" | tr -c ' -~' ' ' | head -c 900 >"$WORK/report"
  fetch "$plan_progress" --tries=2 --timeout=10 --post-file="$WORK/report" --header=Content-Type:text/plain \
    -O "$WORK/answer" 2>"$WORK/report.log"
}

# fetch ADDRESS WGET-ARGUMENTS…: only a server whose certificate the site's authority has signed is spoken to. A file of the
# medium goes to the standard output.
fetch() {
  fetch_address=$1
  shift
  case $fetch_address in
    medium:*)
      cat "$MEDIUM/${fetch_address#medium:}"
      return
      ;;
  esac
  run_wget --no-config --no-hsts --no-verbose --https-only --max-redirect=0 --ca-directory="$WORK/no-authorities" \
    --ca-certificate="$SITE/ca.pem" --retry-connrefused --retry-on-http-error=429,503 --waitretry=10 \
    "$@" "$fetch_address"
}
