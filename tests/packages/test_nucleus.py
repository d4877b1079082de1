"""rocks-nucleus and comet on a fresh frontend: installed without a network, started as their units do, used, removed.

There is no systemd in the root, so that the test starts the programs of the units as their users. What the unit calls
MemoryDenyWriteExecute is set by the kernel's own means.
"""

import re
from collections.abc import Callable, Iterator

import pytest

from comet import __version__
from rocks.core.process import run_checked
from tests.packages.fresh_roots import Root
from tests.packages.test_frontend import start_database

_UNITS = "usr/lib/systemd/system"
_ADDRESS = "10.1.1.1"
_AS_OWNER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "env", "HOME=/tmp/owner")
_START = """\
nohup setpriv --reuid="$1" --regid="$1" --clear-groups -- "${@:2}" >>/var/log/nucleus.log 2>&1 &
echo $!
"""
_DENIED = """\
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""
"""PR_SET_MDWE: no memory that is written becomes one that is executed. Source: prctl(2)."""

_LOOK = """\
import sys, time, urllib.request
for number in range(600):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())
        break
    except OSError as error:
        last = error
        time.sleep(0.2)
else:
    sys.exit(f"{sys.argv[1]} does not answer: {last}")
"""


def _programs(root: Root, unit: str) -> list[tuple[str, list[str]]]:
    """(prefix, words) of the programs that the unit starts, in order."""
    text = (root.folder / _UNITS / unit).read_text("utf-8")
    found = re.findall(r"^Exec(?:StartPre|Start)=([+]?)(.+)$", text, re.MULTILINE)
    return [(prefix, line.split()) for prefix, line in found]


def _serve(root: Root, *more: str) -> str:
    """Start the service as its unit does; its process id."""
    (as_root, setup), (_, serve) = _programs(root, "rocks-nucleus.service")
    assert as_root == "+"
    root.done(*setup)
    denied = ["/usr/bin/python3", "-c", _DENIED]
    command = ["env", *more, *denied, *serve]
    return root.done("bash", "-c", _START, "bash", "nucleus", *command).strip()


def _end(root: Root, process: str) -> None:
    root.done("sh", "-c", f"kill {process}; while [ -e /proc/{process} ]; do sleep 0.2; done", seconds=300)


@pytest.fixture
def root(new_root: Callable[[str], Root]) -> Iterator[Root]:
    """A frontend with a site and the database, the service's programs, and the owners' client."""
    made = new_root("nucleus")
    network = ["nsenter", "--target", str(made.process_id), "--net", "--"]  # the root has no program ip
    for arguments in (("link", "set", "lo", "up"), ("address", "add", f"{_ADDRESS}/16", "dev", "lo")):
        run_checked([*network, "ip", *arguments], deadline_seconds=120)
    made.install("rocks-nucleus", "comet")
    start_database(made)
    made.done("rocks", "update", "database")
    made.done("rocks", "add", "host", "head", "membership=Frontend", "rack=0", "rank=0", "cpus=2")
    made.done("rocks", "add", "network", "private", "subnet=10.1.0.0", "netmask=255.255.0.0")
    made.done("rocks", "add", "host", "interface", "head", "eth0", f"ip={_ADDRESS}", "subnet=private")
    made.done("rocks", "set", "attr", "Kickstart_PrivateHostname", "head")
    # as systemd does for the units: StateDirectory
    made.done("install", "-d", "-o", "nucleus", "-g", "nucleus", "-m", "700", "/var/lib/rocks-nucleus/images")
    yield made


def test_an_owner_is_served(root: Root) -> None:
    """From the packages to `comet ll`, with TLS by the frontend's certificate; then a restart, and a purge."""
    ((_, executor),) = _programs(root, "rocks-nucleus-executor.service")
    helper = root.done("bash", "-c", _START, "bash", "root", *executor).strip()
    process = _serve(root)
    look = ("/usr/bin/python3", "-c", _LOOK)
    assert root.done(*look, "http://127.0.0.1:8372/healthz", seconds=300) == "ok\n\n", (
        root.folder / "var/log/nucleus.log"
    ).read_text()
    assert "noVNC" in root.done(*look, "http://127.0.0.1:8372/assets/novnc/core/rfb.js", seconds=300)
    assert root.done(*look, "http://127.0.0.1:8372/readyz", seconds=300) == (
        '{"database":"ok","poll":"ok"}\n'
    ), (root.folder / "var/log/nucleus.log").read_text()
    _end(root, process)

    root.done("rocks", "add", "host", "certificate", "head")
    pair = "/run/certificate.pem"
    root.done("install", "-o", "nucleus", "-m", "400", "/etc/rocks/pki/authority/nodes/head.pem", pair)
    certificate = (
        "NUCLEUS_LISTEN_ADDRESS=0.0.0.0",
        f"NUCLEUS_LISTEN_CERTIFICATE={pair}",
        f"NUCLEUS_LISTEN_KEY={pair}",
    )
    process = _serve(root, *certificate)
    root.done("nucleus", "project", "add", "alpha")
    root.done("nucleus", "user", "add", "ann", "--project", "alpha")
    token = root.done("nucleus", "token", "create", "ann", "--days", "2").split()[-1]
    root.done("install", "-m", "644", "/etc/rocks/pki/authority/ca.crt", "/tmp/ca.crt")
    root.done("install", "-d", "-m", "777", "/tmp/owner")
    owner = (
        *_AS_OWNER,
        f"COMET_TOKEN={token}",
        "comet",
        f"--endpoint=https://{_ADDRESS}:8372",
        "--ca=/tmp/ca.crt",
    )
    assert root.done("comet", "--version") == f"comet {__version__}\n"
    root.done("sh", "-c", 'for n in $(seq 300); do "$@" && exit; sleep 0.2; done; exit 1', "sh", *owner, "ll")
    assert root.done(*owner, "ll", "--format=json").strip() == "[]"
    assert root.run(*_AS_OWNER, "nucleus", "token", "list").exit_status == 1, (
        "others have no way to its schema"
    )

    # the copy of docs/guide/nucleus.md
    server = "--socket=/var/opt/rocks/mysql/mysql.sock"
    root.done(
        "sh", "-c", f"mariadb-dump {server} --single-transaction --databases nucleus >/root/nucleus.sql"
    )
    root.done("nucleus", "user", "add", "eve")
    root.done("mariadb", server, "-e", "DROP DATABASE IF EXISTS nucleus")
    root.done("sh", "-c", f"mariadb {server} </root/nucleus.sql")
    assert "eve" not in root.done("nucleus", "user", "list")

    # an upgrade: set up again beside itself, with everything there
    root.done("sh", "-c", "nucleus setup & nucleus setup && wait $!")
    _end(root, process)
    process = _serve(root, *certificate)
    root.done("sh", "-c", 'for n in $(seq 300); do "$@" && exit; sleep 0.2; done; exit 1', "sh", *owner, "ll")
    _end(root, process)
    root.done("sh", "-c", f"kill {helper}; while [ -e /proc/{helper} ]; do sleep 0.2; done", seconds=300)

    root.done("apt-get", "purge", "-q", "-y", "rocks-nucleus")
    assert not (root.folder / "etc/rocks/nucleus.toml").exists()
    assert not (root.folder / "opt/rocks/lib/vendor-nucleus").exists()
    assert (root.folder / "var/lib/rocks-nucleus/images").is_dir()
    assert (root.folder / "var/opt/rocks/mysql/data/nucleus").is_dir(), "its schema must outlive a purge"
    assert "Frontend" in root.done("rocks", "list", "host")
    log = (root.folder / "var/log/nucleus.log").read_text()
    assert "Traceback" not in log, log


def test_a_login_node_needs_nothing_else(new_root: Callable[[str], Root]) -> None:
    """The client alone: program, module, completion, manual page."""
    root = new_root("login")
    root.install("comet")
    assert not (root.folder / "opt/rocks").exists()
    assert root.done("comet", "--version") == f"comet {__version__}\n"
    assert root.done("cm", "comet", "--version") == f"comet {__version__}\n"
    refused = root.run("comet", "ll")
    assert refused.exit_status == 2 or refused.exit_status == 3, refused.error_text
    assert "comet init" in refused.error_text and "Traceback" not in refused.error_text
    assert root.done(
        "/usr/bin/python3", "-c", "import comet; print(comet.expand_hostlist('a[0-1]'))"
    ).strip() == ("['a0', 'a1']")
    completion = (
        "source /usr/share/bash-completion/completions/comet; COMP_WORDS=(comet comp); COMP_CWORD=1; _comet;"
        " echo ${COMPREPLY[*]}"
    )
    assert {"completion", "computeset"} <= set(root.done("bash", "-c", completion).split())
    assert (root.folder / "usr/share/man/man1/comet.1.gz").is_file()
    root.done("apt-get", "purge", "-q", "-y", "comet")
    assert not [path for path in root.paths() if "/comet" in path and not path.startswith("/srv/packages/")]
