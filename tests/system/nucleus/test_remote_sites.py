"""A site that is reached by a real SSH server; a program stands for its `pragma` (tests/system/pragma has that)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from owners.reservations.records import Requested
from owners.reservations.site import RemoteSite, boot, look, remove
from rocks.core.errors import HostError, RocksError, ToolError
from rocks.core.process import run_checked
from tests.contract.ssh_hosts import ssh_server

_REMOTE = """#!/bin/sh
cd {folder} && PATH={folder}:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
_PRAGMA = """#!/bin/sh
echo "$*" >>calls
[ -e lie ] && exec cat lie
[ -e hang ] && exec sleep 30
case $1 in
  boot) cp "${4#key=}" booted ;;
  list) [ -e booted ] && cat cluster; exit 0 ;;
  clean) rm booted ;;
esac
"""
_CLUSTER = [{"frontend": "dock", "cluster": [{"status": "active", "public ip": "203.0.113.20"}]}]
_REQUESTED = Requested(
    7, "nucleus-0123456789abcdef", "dock6", 4, "ssh-ed25519 AAAA ann's; touch x", "root@127.0.0.1", True, 3600
)


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the other end, which this user reaches by `ssh root@127.0.0.1`."""
    key, folder = tmp_path / "id", tmp_path / "far"
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], deadline_seconds=30)
    more = f"ForceCommand {folder}/remote"
    with ssh_server(folder, Path(f"{key}.pub").read_text().strip(), more) as (server, _):
        for name, text in (("remote", _REMOTE.format(folder=folder)), ("pragma", _PRAGMA)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        (folder / "cluster").write_text(json.dumps(_CLUSTER))
        (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        (tmp_path / "config").write_text(
            f"Port {server.port}\nIdentityFile {key}\nUserKnownHostsFile {tmp_path}/known\n"
        )
        (tmp_path / "bin").mkdir()
        wrapper = tmp_path / "bin/ssh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {tmp_path}/config "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        yield folder


def test_a_cluster_is_booted_found_and_removed_by_ssh(far: Path) -> None:
    other = RemoteSite("root@127.0.0.1", 30.0)
    assert look(other, _REQUESTED) is None
    boot(other, _REQUESTED)
    assert (far / "booted").read_text() == f"{_REQUESTED.public_key}\n" and not (far / "x").exists()
    found = look(other, _REQUESTED)
    assert found is not None and (found.name, found.address) == ("dock", "203.0.113.20")
    remove(other, _REQUESTED)
    assert look(other, _REQUESTED) is None and not (far / ".nucleus-0123456789abcdef.pub").exists()
    remove(other, _REQUESTED)
    assert (
        "boot dock6 4 key=.nucleus-0123456789abcdef.pub add-iface=ent request=nucleus-0123456789abcdef\n"
        in (far / "calls").read_text()
    )
    again = "list cluster request=nucleus-0123456789abcdef json=yes"
    assert (far / "calls").read_text().count(f"shutdown dock\n{again}\nclean dock\n") == 1


@pytest.mark.slow
def test_a_site_that_lies_hangs_or_has_another_key_is_an_error(far: Path, tmp_path: Path) -> None:
    other = RemoteSite("root@127.0.0.1", 30.0)
    (far / "lie").write_text(
        '[{"frontend": "\x1b[2Jdock", "cluster": [{"status": "active", "public ip": ""}]}]'
    )
    with pytest.raises(ToolError, match="which is no cluster") as lied:
        look(other, _REQUESTED)
    assert str(lied.value).isprintable()
    (far / "lie").unlink()
    (far / "hang").touch()
    with pytest.raises(RocksError):
        look(RemoteSite("root@127.0.0.1", 3.0), _REQUESTED)
    (far / "hang").unlink()
    for text in ("exec yes", "exec yes >&2"):
        (far / "pragma").write_text(f"#!/bin/sh\n{text}\n")
        with pytest.raises(RocksError, match="printed more than 1048576 bytes"):
            look(other, _REQUESTED)
    (far / "pragma").write_text("#!/bin/sh\nprintf '\\033[2Jno' >&2; exit 1\n")
    with pytest.raises(HostError, match="pragma failed at root@127.0.0.1") as failed:
        look(other, _REQUESTED)
    assert str(failed.value).isprintable()
    run_checked(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], deadline_seconds=30
    )
    place = (tmp_path / "known").read_text().split()[0]
    changed = " ".join((tmp_path / "k.pub").read_text().split()[:2])
    (tmp_path / "known").write_text(f"{place} {changed}\n")
    with pytest.raises(HostError, match=r"(?i)host key"):
        look(other, _REQUESTED)
