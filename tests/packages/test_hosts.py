"""The packages of hosts and NASes on fresh machines, with the distribution's Python packages only."""

import json
from collections.abc import Callable
from pathlib import Path

from rocks import __version__
from rocks.core.process import run_checked
from rocks.fleet.wire.calls import write_request
from rocks.fleet.wire.facts import AdaptersRequest
from rocks.fleet.wire.requests import NetworkRequest
from tests.packages.fresh_roots import Root

_AGENT = "/opt/rocks/libexec/rocks-agent"


def test_an_agent_answers(new_root: Callable[[str], Root]) -> None:
    """One request on standard input, one reply; then the hook; nothing of the frontend is there."""
    root = new_root("host")
    root.install("rocks-agent")
    assert root.done(_AGENT, "--version").strip() == __version__
    reply = json.loads(root.done(_AGENT, standard_input=write_request(AdaptersRequest(())), seconds=120))
    assert reply == {"version": __version__, "ok": True, "result": reply["result"]}
    without_libvirt = json.loads(
        root.done(_AGENT, standard_input=write_request(NetworkRequest()), seconds=120)
    )
    assert "is libvirtd running?" in without_libvirt["error"]["message"]
    assert json.loads(root.done(_AGENT, standard_input=b"{}\n", seconds=60))["ok"] is False
    hook = root.run("/etc/libvirt/hooks/qemu.d/rocks", "a", "prepare", "begin", "-", standard_input=b"<bad")
    assert hook.exit_status == 1
    assert hook.error_text.startswith("rocks: the domain XML cannot be read")
    assert not (root.folder / "opt/rocks/bin").exists()
    assert not (root.folder / "opt/rocks/lib/vendor").exists()
    _check_modules(root, "agent", "core", "fleet", "machine", "network")


def test_image_daemons_say_what_they_lack(new_root: Callable[[str], Root]) -> None:
    """Installed, they start, and end with one line that names what is missing."""
    root = new_root("storage")
    root.install("rocks-imgstorage-nas", "rocks-imgstorage-host")
    for role in ("nas", "host"):
        started = root.run(f"/opt/rocks/libexec/rocks-imgstorage-{role}", seconds=60)
        assert started.exit_status not in (0, -9)
        assert "/etc/imgstorage.conf" in started.error_text
        assert "Traceback" not in started.error_text
    _check_modules(root, "core", "fleet", "storage")


def _check_modules(root: Root, *packages: str) -> None:
    """Every module is importable by the machine's own Python, from what the package has."""
    script = (
        "import importlib, pkgutil, sys\n"
        "sys.path.insert(0, '/opt/rocks/lib/python')\n"
        "import rocks\n"
        "failed = []\n"
        "for name in sys.argv[1:]:\n"
        "    top = importlib.import_module(f'rocks.{name}')\n"
        "    for module in pkgutil.walk_packages(top.__path__, f'rocks.{name}.'):\n"
        "        if not module.name.endswith('__main__'):\n"
        "            importlib.import_module(module.name)\n"
    )
    root.done("/usr/bin/python3", "-I", "-c", script, *packages)


def test_deb_and_rpm_have_the_same_files(built: dict[str, list[Path]], tmp_path: Path) -> None:
    """Below /opt and /etc, but modules for Debian's other Pythons; no deb has files below /lib, which is a link.

    The rpm is installed into an empty root, without its scriptlets.
    """
    for package in built["deb"]:
        run_checked(["dpkg-deb", "-x", str(package), str(tmp_path / "deb")], deadline_seconds=60)
    root = tmp_path / "rpm"
    root.mkdir()
    options = ["--root", str(root), "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "--install"]
    run_checked(["rpm", *options, *map(str, built["rpm"])], deadline_seconds=120)
    assert not (tmp_path / "deb/lib").exists()
    of_debian = {
        name for name in _files(tmp_path / "deb") if ".cpython-" in name and ".cpython-311-" not in name
    }
    assert of_debian and _files(tmp_path / "deb") - of_debian == _files(root)
    assert (root / "opt/rocks/bin/rocks").read_text("ascii").startswith("#!/usr/bin/python3.11 -ES\n")
    # dh_python3 of Debian 13 takes options away
    assert (tmp_path / "deb/usr/bin/comet").read_text("ascii").startswith("#!/usr/bin/python3 -IS\n")
    database = (root / "usr/lib/systemd/system/rocks-database.service").read_text("utf-8")
    assert "ExecStart=/usr/libexec/mariadbd " in database
    scripts = run_checked(["rpm", "-q", "--scripts", "-p", *map(str, built["rpm"])], deadline_seconds=60).text
    assert "%" not in scripts.replace("%s", ""), "a macro that rpm does not know"


def _files(root: Path) -> set[str]:
    found = (
        path
        for top in ("opt", "etc")
        for path in (root / top).rglob("*")
        if path.is_symlink() or path.is_file()
    )
    return {str(path.relative_to(root)) for path in found}
