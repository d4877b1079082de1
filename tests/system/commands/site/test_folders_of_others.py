"""Root writes through no folder of another user: who owns a folder can put a link in the place of each name in it."""

import os
import re
import shlex
from pathlib import Path

import pytest

from rocks.core.errors import HostError
from rocks.core.process import run, run_checked
from rocks.machine.host import live_move
from rocks.storage.broker.broker import BrokerControl, BrokerSettings

CHECKOUT = Path(__file__).resolve().parents[4]
OTHER = 65534
"""nobody's number, in the place of prometheus, rabbitmq and QEMU."""

UNITS = sorted((CHECKOUT / "packaging").rglob("*.service"))
STARTS = re.compile(r"^Exec[A-Za-z]+=((?:.*\\\n)*.*)$", re.MULTILINE)
REDIRECTIONS = re.compile(r"[>]+\s*(/\S+)|\b(?:cp|mv|install|ln|tee)\b(?: \S+)* (/\S+)")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of root's."""
    tmp_path.chmod(0o755)
    path = tmp_path / "victim"
    path.write_text("root's")
    path.chmod(0o600)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder of another user."""
    folder = tmp_path / "other"
    folder.mkdir(0o755)
    os.chown(folder, OTHER, OTHER)
    return folder


def is_untouched(victim: Path) -> bool:
    status = victim.stat()
    return victim.read_text() == "root's" and (status.st_uid, status.st_mode & 0o777) == (0, 0o600)


@pytest.mark.parametrize("replaced", ["", "node-exporter", "node-exporter/rocks.new"])
def test_metrics_are_written_by_the_user_of_the_folder(tmp_path: Path, victim: Path, replaced: str) -> None:
    """With the rights that the unit leaves; the folder, or a name in it, is a link of its user's."""
    unit = (CHECKOUT / "packaging/monitoring/rocks-metrics.service").read_text("utf-8")
    (start,) = STARTS.findall(unit)
    command = shlex.split(start.replace("\\\n", " ").replace("$$", "$").replace("%%", "%"))[-1]
    rights = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)[0].lower().replace("cap_", "+")
    (victim.parent / "rocks.prom").write_text("root's")
    prepare = f"""
set -eu
mount -t tmpfs -o mode=755 none /opt && mount -t tmpfs -o mode=755 none /var/lib
mkdir -p /opt/rocks/bin /var/lib/prometheus/node-exporter
printf '#!/bin/sh\\nprintf "a 1\\\\nb 2\\\\n"\\n' >/opt/rocks/bin/rocks && chmod 755 /opt/rocks/bin/rocks
cp -a /etc /opt/etc && mount --bind /opt/etc /etc
sed -i /^prometheus:/d /etc/passwd /etc/group
echo "prometheus:x:{OTHER}:{OTHER}::/:/bin/sh" >>/etc/passwd && echo "prometheus:x:{OTHER}:" >>/etc/group
cd /var/lib/prometheus
case "{replaced}" in
  node-exporter) rm -r node-exporter && ln -s {victim.parent} node-exporter ;;
  node-exporter/*) ln -s {victim} {replaced} ;;
esac
chown -hR {OTHER}:{OTHER} /var/lib/prometheus
status=0
setpriv --bounding-set=-all,{rights.replace(" ", ",")} --no-new-privs sh -c {shlex.quote(command)} || status=$?
echo $status
cat /var/lib/prometheus/node-exporter/rocks.prom || true
"""
    ended = run_checked(["unshare", "--mount", "--", "sh", "-c", prepare], deadline_seconds=60)
    assert is_untouched(victim)
    assert (victim.parent / "rocks.prom").read_text() == "root's"
    if not replaced:
        assert ended.text == "0\na 1\nb 2\n"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_no_unit_of_roots_writes_by_a_shell(unit: Path) -> None:
    """A redirection, or mv, is root's; what follows `setpriv --reuid=` is another user's."""
    for start in STARTS.findall(unit.read_text("utf-8")):
        mine = start.partition("setpriv --reuid=")[0]
        assert REDIRECTIONS.findall(mine) == []


def test_a_profile_follows_no_link_of_another_user(tmp_path: Path, victim: Path, other: Path) -> None:
    """The broker's user owns /etc/rabbitmq, as Debian's package makes it."""
    (other / "conf").symlink_to(victim)
    os.chown(other / "conf", OTHER, OTHER, follow_symlinks=False)
    (other / "roots").symlink_to(tmp_path / "roots-target")
    script = f"""
ROCKS_WORK={tmp_path}/work && mkdir "$ROCKS_WORK" && : >"$ROCKS_WORK/changes"
. {shlex.quote(str(CHECKOUT))}/src/rocks/install/graph/functions.sh
for name in conf roots; do echo new | rocks_content && rocks_file {other}/$name create 644 '' forget; done
"""
    ended = run(["bash", "-c", script], deadline_seconds=60)
    assert ended.exit_status == 0, ended.error_text
    assert is_untouched(victim)
    assert not (other / "conf").is_symlink() and (other / "conf").read_text() == "new\n"
    assert (other / "roots").is_symlink() and (tmp_path / "roots-target").read_text() == "new\n"


def test_the_broker_gets_certificates_in_a_folder_of_roots_only(tmp_path: Path, other: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(0o700)
    control = BrokerControl(BrokerSettings(pki_folder=str(other / "rocks"), group="nogroup"))
    assert control.install_certificates({"ca.crt": b"ca", "crls/one": b"crl"})
    assert not control.install_certificates({"ca.crt": b"ca", "crls/one": b"crl"})
    assert (other / "rocks/crls/one").read_bytes() == b"crl"
    assert ((other / "rocks").stat().st_mode & 0o777, (other / "rocks").stat().st_uid) == (0o750, 0)
    (other / "rocks").rename(other / "old")
    (other / "rocks").symlink_to(secret)
    with pytest.raises(HostError, match="it must be a folder of root's"):
        control.install_certificates({"ca.crt": b"ca"})
    (other / "rocks").unlink()
    (other / "rocks").mkdir()
    os.chown(other / "rocks", OTHER, OTHER)
    with pytest.raises(HostError, match="belongs to another user"):
        control.install_certificates({"ca.crt": b"ca"})
    assert list(secret.iterdir()) == [] and secret.stat().st_gid == 0


def test_a_socket_of_a_live_move_is_given_away_before_it_is_in_qemus_folder(
    victim: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU's user replaces the socket by a link, at the moment before root changes its owner."""
    chown = os.chown

    def replaced(path: Path, user: int, group: int) -> None:
        if (other / "memory").exists():
            (other / "memory").unlink()
            (other / "memory").symlink_to(victim)
        chown(path, user, group)

    monkeypatch.setattr(live_move.os, "chown", replaced)
    with live_move._listening(other / "memory"):
        status = (other / "memory").stat()
        assert (status.st_uid, status.st_mode & 0o777) == (OTHER, 0o600)
    assert is_untouched(victim)
