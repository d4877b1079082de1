"""rocks-cli on a fresh machine: installed without a network, used, removed."""

import re
from collections.abc import Callable
from pathlib import Path

from rocks import __version__
from rocks.core.process import run_checked
from tests.packages.fresh_roots import Root

LEFT_BEHIND = {"/etc/rocks", "/var/opt/rocks"}
"""What outlives a purge, with all below (docs/packaging.md)."""

STOP_DATABASE = "kill $(cat /var/opt/rocks/mysql/data/mariadbd.pid); while pidof mariadbd; do sleep 0.2; done"
_UNIT = "usr/lib/systemd/system/rocks-database.service"


def start_database(root: Root) -> None:
    """Start the cluster database as its unit does: its user, its commands."""
    unit = (root.folder / _UNIT).read_text("utf-8")
    create, serve = re.findall(r"^Exec(?:StartPre|Start)=(.+)$", unit, re.MULTILINE)
    root.done("rm", "-f", "/var/opt/rocks/mysql/mysql.sock")  # of a server that was killed
    as_user = ["setpriv", "--reuid=rocks-database", "--regid=rocks-database", "--clear-groups", "--"]
    root.done(*as_user, *create.split())
    root.done("sh", "-c", 'nohup "$@" >/run/mariadbd.log 2>&1 & sleep 1', "sh", *as_user, *serve.split())
    socket = "/var/opt/rocks/mysql/mysql.sock"
    root.done("sh", "-c", f"for n in $(seq 120); do [ -S {socket} ] && exit; sleep 0.5; done; exit 1")


def test_a_frontend_from_nothing(new_root: Callable[[str], Root]) -> None:
    """Commands, database and completion work offline; a purge leaves only what docs/packaging.md says."""
    root = new_root("frontend")
    bare = root.paths()
    # what it needs, so that only its own files count below
    (package,) = (root.folder / "srv/packages").glob("rocks-cli_*.deb")
    needed = root.done("dpkg-deb", "-f", f"/srv/packages/{package.name}", "Depends").split(",")
    names = [text.split("|")[0].split("(")[0].split(":")[0].strip() for text in needed]
    root.install(*[name for name in names if not name.startswith("rocks-")])
    before = root.paths()
    root.install("rocks-cli")
    assert root.done("rocks", "--version").strip().endswith(__version__)
    assert "list host vm" in root.done("rocks", "list", "help")

    missing = root.run("rocks", "list", "host")
    assert missing.exit_status == 1
    assert "start the database with `systemctl start rocks-database.service`" in missing.error_text

    start_database(root)
    root.done("rocks", "update", "database")
    root.done("rocks", "add", "host", "head", "membership=Frontend", "rack=0", "rank=0", "cpus=2")
    assert "Frontend" in root.done("rocks", "list", "host")
    assert "Frontend" in root.done(
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "rocks", "list", "host"
    )
    assert root.done("rocks", "dump", "appliance").startswith("/opt/rocks/bin/rocks ")
    root.done("rocks", "add", "network", "private", "subnet=10.1.0.0", "netmask=255.255.0.0")
    root.done("rocks", "add", "host", "interface", "head", "eth0", "ip=10.1.1.1", "subnet=private")
    root.done("rocks", "set", "attr", "Kickstart_PrivateHostname", "head")
    assert "rocks_packages_deb" in root.done("rocks", "report", "host", "profile", "head")
    # again: the schema stays, and so does the data folder
    root.done("rocks", "update", "database")

    offered = root.done(
        "bash",
        "-c",
        "source /usr/share/bash-completion/completions/rocks; COMP_LINE='rocks list host attr '; COMP_POINT=21;"
        " _rocks rocks '' attr; echo ${COMPREPLY[*]}",
    )
    assert "head" in offered.split()

    assert not [path for path in root.paths() - bare if re.search(r"/bin/(pip3?|gcc|cc|make)$", path)]
    modules = [path for path in root.paths() - before if path.startswith("/opt/rocks/lib/python/")]
    cached = [path for path in modules if path.endswith(".pyc")]
    assert len(cached) > 100, "the modules are not compiled"

    root.done("sh", "-c", STOP_DATABASE)
    purged = root.done("apt-get", "purge", "-q", "-y", "rocks-cli", "rocks-common")
    for place in ("/var/opt/rocks/mysql stays: the cluster database", "the user rocks-database stays"):
        assert f"rocks-cli: {place}" in purged
    left = {
        path
        for path in root.paths() - before
        if not any(
            path == place or path.startswith(f"{place}/") for place in LEFT_BEHIND | {"/var/lib/rocks"}
        )
    }
    assert left <= {
        "/var/opt",
        "/tftpboot",
        "/run/rocks-boot",
        "/etc/systemd/system/multi-user.target.wants",
    }, left
    assert (root.folder / "var/opt/rocks/mysql/data/cluster").is_dir(), "the database must outlive a purge"
    assert not (root.folder / "etc/rocks/mariadb.cnf").exists()

    # installed again, the old database is there
    root.install("rocks-cli")
    start_database(root)
    assert "Frontend" in root.done("rocks", "list", "host")


def test_units_are_valid_and_hardened(built: dict[str, list[Path]], tmp_path: Path) -> None:
    """systemd reads every option, and rates each unit at most so exposed (0: not at all, 10: fully)."""
    most = {
        "rocks-database.service": 1.5,
        "rocks-boot.service": 4.0,
        "rocks-airboss.service": 3.5,
        "rocks-dns.service": 3.5,
        "rocks-kickstart.service": 3.5,
        "rocks-agent.service": 5.0,
        "rocks-links.service": 4.5,
        "rocks-ended.service": 3.5,
        "rocks-imgstorage-host.service": 4.5,
        "rocks-imgstorage-nas.service": 4.5,
        "rocks-nucleus.service": 1.5,
        "rocks-nucleus-executor.service": 6.0,
    }
    for package in built["deb"]:
        run_checked(["dpkg-deb", "-x", str(package), str(tmp_path)], deadline_seconds=60)
    units = tmp_path / "usr/lib/systemd/system"
    assert {path.name for path in units.iterdir()} == {*most, "rocks-agent.socket", "rocks-ended.path"}
    for name, limit in most.items():
        rated = run_checked(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(units / name)],
            deadline_seconds=60,
        )
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rated.text)
        assert found, rated.text
        assert "Unknown" not in rated.error_text, rated.error_text
        assert float(found.group(1)) <= limit, f"{name}: {found.group(1)}"
