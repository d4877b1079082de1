"""The roles of people who are not root, as the package's sudo rules grant them to real groups by a real sudo."""

import shlex
import shutil
import sys
from pathlib import Path

import pytest

from rocks.commands._framework.tree import OUR_TREE, all_commands
from rocks.core.process import run_checked

RULES = Path(__file__).resolve().parents[4] / "packaging/files/rocks.sudoers"
SOURCES = RULES.parents[2] / "src"
ROCKS = "/opt/rocks/bin/rocks"

LOOK = ("list site", "list site watch=yes", "list host vm status=yes", "list audit user=ann", "check site")
OPERATE = ("start host vm web", "stop cluster vc1 action=shutdown", "drain host vmc-0-0 to=vmc-0-1")
ADMINISTER = (
    "list host vm select Value from sec_global_attributes",
    "set host attr vmc-0-0 kvm false",
    "list sec_attr",
    "run host date",
    "save site file=/etc/x",
    "restore host vm snapshot web before",
)
REACHED = {
    "list host vm": ("lease", "nas", "network", "shape", "snapshot"),
    "restore host vm": ("snapshot",),
}
"""Commands below one of which all arguments are permitted; the second is refused by a rule of its own."""

SITE = f"""
set -eu
mount -t tmpfs none /opt && mkdir -p {Path(ROCKS).parent}
cat >{ROCKS} && chmod 755 {ROCKS}
cp -a /etc /opt/etc && mount --bind /opt/etc /etc
number=7100
for role in look operate administer other; do
  number=$((number + 1))
  echo "rocks-$role:x:$number:$role" >>/etc/group
  echo "$role:x:$number:65534::/:/bin/sh" >>/etc/passwd
  echo "$role:*:20000:0:99999:7:::" >>/etc/shadow
done
printf 'root ALL=(ALL:ALL) ALL\\n@includedir /etc/sudoers.d\\n' >/etc/sudoers && chmod 440 /etc/sudoers
rm -rf /etc/sudoers.d && mkdir /etc/sudoers.d
install -m 440 {shlex.quote(str(RULES))} /etc/sudoers.d/rocks
visudo -cq
as() {{ user=$1 && shift && setpriv --reuid=$user --regid=65534 --init-groups -- "$@"; }}
"""
"""In a mount namespace of its own: accounts with the roles, the rules, and standard input as the program `rocks`."""

pytestmark = pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed (make setup)")


def on_site(program: str, script: str) -> list[str]:
    """The lines that the script prints on the site, with that text as its `rocks`."""
    arguments = ["unshare", "--mount", "--", "sh", "-c", SITE + script]
    return run_checked(arguments, deadline_seconds=60, standard_input=program.encode()).text.splitlines()


def test_each_role_has_its_commands_and_no_others() -> None:
    roles = {
        "look": LOOK,
        "operate": (*LOOK, *OPERATE),
        "administer": (*LOOK, *OPERATE, *ADMINISTER),
        "other": (),
    }
    asked = [(role, line) for role in roles for line in (*LOOK, *OPERATE, *ADMINISTER)]
    script = "".join(
        f"as {role} sudo -n -- {ROCKS} {line} 2>/dev/null || echo refused {role} {line}\n"
        for role, line in asked
    )
    expected = [
        f"0 {role} {line}" if line in roles[role] else f"refused {role} {line}" for role, line in asked
    ]
    assert on_site('#!/bin/sh\necho "$(id -u) $SUDO_USER $*"\n', script) == expected


@pytest.mark.parametrize("role", ["operate", "administer"])
def test_what_a_host_or_a_disk_loses_is_stated_by_who_may_become_root(role: str) -> None:
    refused = on_site(
        f"""#!/usr/bin/python3 -S
import sys
sys.path[:0] = {[str(SOURCES), *sys.path]!r}
from rocks.core.errors import RocksError
from rocks.machine.stop import Force, _prove_off
from rocks.core.callers import check_full_rights
for what in ("host-off=yes", "disks=there"):
    try:
        check_full_rights(what)
    except RocksError as error:
        print(error)
for command, force in (("", Force("it is off")), ("true", Force("it is off", True)), ("true", Force("it is off"))):
    print(_prove_off("vmc-0-0", command, force))
""",
        f"as {role} sudo -n -- {ROCKS} start host vm web",
    )
    end = "is for root and members of rocks-administer, and operate is neither; nothing was changed"
    fenced, stated = (
        "the fence command of vmc-0-0 succeeded",
        "the operator states that vmc-0-0 is off: it is off",
    )
    if role == "administer":
        assert refused == [stated, stated, fenced]
    else:
        off = "the statement that vmc-0-0 is off"
        assert refused == [
            f"host-off=yes {end}",
            f"disks=there {end}",
            f"{off} (its attribute vm_fence_command has no command) {end}",
            f"{off} {end}",
            fenced,
        ]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["operate", "administer"])
def test_what_sudo_does_not_recognize_is_refused_by_the_command(role: str) -> None:
    """sudo compares text, in which `rocks` sees the name of a command also with two blanks or a tab."""
    program = f"""#!/usr/bin/python3 -S
import sys
sys.path[:0], sys.dont_write_bytecode = {[str(SOURCES), *sys.path]!r}, True
from rocks.cli import main
from rocks.commands import Command
from rocks.inventory import host_records
Command.db, Command.getOneHostname = None, lambda self, hosts: hosts
Command.requireArguments = lambda self, name: rest_of
def run(command, rest, shared):
    global rest_of
    rest_of = rest[0], rest[1:]
    command.run(command.__new__(command), {{}}, rest)
main._run_command = run
try:
    if "list" in sys.argv:
        host_records._select(None, "select 1")
    sys.exit(main._run(sys.argv[1:], None))
except Exception as error:
    print(type(error).__name__, error)
"""
    lines = (
        "'restore host vm  snapshot' web before",
        "'restore host vm \tsnapshot' web before",
        "list host vm web",
    )
    seen = on_site(program, "".join(f"as {role} sudo -n -- {ROCKS} {line} 2>&1\n" for line in lines))
    if role == "administer":
        assert [line.split()[0] for line in seen] == ["AttributeError"] * 3  # there is no database
    else:
        end = f"is for root and members of rocks-administer, and {role} is neither; nothing was changed"
        disks = f"UserError replacing the disks of web {end}"
        assert seen == [disks, disks, f"UserError a selector of SQL {end}"]


@pytest.mark.parametrize("is_hard", [False, True])
def test_limits_umask_and_ignored_signals_of_the_caller_end_at_sudo(is_hard: bool) -> None:
    """A program that fails counts as one that succeeded where SIGCHLD is ignored, also a host's fence command."""
    hostile = f"""
import os, resource, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
for name, least in (("FSIZE", 1000), ("NOFILE", 30), ("CPU", 7), ("DATA", 2**30), ("AS", 2**30)):
    limit = getattr(resource, "RLIMIT_" + name)
    resource.setrlimit(limit, (least, least if {is_hard} else resource.getrlimit(limit)[1]))
os.umask(0o077)
os.execvp("sudo", ["sudo", "-n", "--", "{ROCKS}", "start", "host", "vm", "web"])
"""
    seen = on_site(
        f"""#!/usr/bin/python3 -S
import sys
sys.path[:0], sys.dont_write_bytecode = [{str(SOURCES)!r}], True
from rocks.cli import main
main.run_line = lambda arguments: print("begun") or 0
status = main.main(["start", "host", "vm", "web"])
import os, resource, signal, subprocess
print(status, oct(os.umask(0)), subprocess.run(["false"]).returncode, signal.pthread_sigmask(signal.SIG_BLOCK, []))
for name in ("FSIZE", "CPU", "DATA", "AS", "NOFILE"):
    print(name, resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0])
""",
        f"as operate /usr/bin/python3 -c {shlex.quote(hostile)} 2>&1",
    )
    raised = ["FSIZE -1", "CPU -1", "DATA -1", "AS -1", "NOFILE 1024"]
    if is_hard and seen[0] != "begun":  # root without CAP_SYS_RESOURCE, as in a container
        assert seen[0].startswith(
            "Error: the limit FSIZE of your session is too low, and cannot be raised here: sign"
        )
        assert seen[1] == "1 0o22 1 set()"
    else:
        assert seen == ["begun", "0 0o22 1 set()", *raised]


def test_the_rules_name_commands_that_exist() -> None:
    """A command that is renamed would silently leave its role."""
    commands = {" ".join(path) for path in all_commands([OUR_TREE])}
    text = RULES.read_text("utf-8").partition("\n# a selector of SQL")[0]
    rules = text.partition("Cmnd_Alias")[2].replace("\\\n", " ").replace(",", "\n")
    named = {line.partition(f"{ROCKS} ")[2].removesuffix("*").strip() for line in rules.splitlines()}
    unknown = sorted(name for name in named - {""} if name.partition("\n")[0] not in commands)
    assert unknown == [] and len(named) > 20
    patterns = {line.strip() for line in rules.splitlines() if line.rstrip().endswith(" *")}
    for pattern in patterns:
        name = pattern.partition(f"{ROCKS} ")[2].removesuffix(" *")
        below = sorted(command for command in commands if command.startswith(f"{name} "))
        assert below == [f"{name} {word}" for word in REACHED.get(name, ())]
