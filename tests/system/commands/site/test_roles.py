"""The roles of people who are not root, as the package's sudo rules grant them to real groups by a real sudo."""

import shutil
from pathlib import Path

import pytest

from rocks.commands._framework.tree import OUR_TREE, all_commands
from rocks.core.process import run_checked

RULES = Path(__file__).resolve().parents[4] / "packaging/files/rocks.sudoers"
ROCKS = "/opt/rocks/bin/rocks"

LOOK = ("list site", "list site watch=yes", "list host vm status=yes", "list audit user=ann", "check site")
OPERATE = ("start host vm web", "stop cluster vc1 action=shutdown", "drain host vmc-0-0 to=vmc-0-1")
ADMINISTER = (
    "list host vm select Value from sec_global_attributes",
    "set host attr vmc-0-0 kvm false",
    "list sec_attr",
    "run host date",
    "save site file=/etc/x",
)

SCRIPT = f"""
set -eu
mount -t tmpfs none /opt && mkdir -p {Path(ROCKS).parent}
printf '#!/bin/sh\\necho "$(id -u) $SUDO_USER $*"\\n' >{ROCKS} && chmod 755 {ROCKS}
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
install -m 440 {RULES} /etc/sudoers.d/rocks
visudo -cq
while read -r user line; do
  setpriv --reuid=$user --regid=65534 --init-groups -- sudo -n -- {ROCKS} $line </dev/null 2>/dev/null ||
    echo "refused $user $line"
done
"""


def test_each_role_has_its_commands_and_no_others() -> None:
    if shutil.which("sudo") is None:
        pytest.skip("sudo is not installed (make setup)")
    roles = {
        "look": LOOK,
        "operate": (*LOOK, *OPERATE),
        "administer": (*LOOK, *OPERATE, *ADMINISTER),
        "other": (),
    }
    asked = [(role, line) for role in roles for line in (*LOOK, *OPERATE, *ADMINISTER)]
    finished = run_checked(
        ["unshare", "--mount", "--", "sh", "-c", SCRIPT],
        deadline_seconds=60,
        standard_input="".join(f"{role} {line}\n" for role, line in asked).encode(),
    )
    expected = [
        f"0 {role} {line}" if line in roles[role] else f"refused {role} {line}" for role, line in asked
    ]
    assert finished.text.splitlines() == expected


def test_the_rules_name_commands_that_exist() -> None:
    """A command that is renamed would silently leave its role."""
    commands = {" ".join(path) for path in all_commands([OUR_TREE])}
    text = RULES.read_text("utf-8").partition("\n# a selector of SQL")[0]
    rules = text.partition("Cmnd_Alias")[2].replace("\\\n", " ").replace(",", "\n")
    named = {line.partition(f"{ROCKS} ")[2].removesuffix("*").strip() for line in rules.splitlines()}
    unknown = sorted(name for name in named - {""} if name.partition("\n")[0] not in commands)
    assert unknown == [] and len(named) > 20
