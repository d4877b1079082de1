"""The commands of `cm` about clouds: words in, one call of Libcloud, lines out."""

from __future__ import annotations

import argparse
import functools
import getpass
import ipaddress
import json
import re
import subprocess  # noqa: TID251 - ssh is the user's own program
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Callable, NoReturn, Optional

from comet.cli.context import Context, signals_as_interrupts, warn
from comet.cli.main import run as run_comet
from comet.cli.output import columns, safe, show
from comet.cli.reservations import public_key
from comet.client.cache import Cache
from comet.client.cache import default_path as cache_path
from comet.client.durations import format_age
from comet.client.errors import CometError, RefusedError, UnreachableError, UsageError
from comet.clouds.providers import Engine
from comet.clouds.settings import COMET, OF_CLOUDS, USER, Settings, load, set_defaults

_MACHINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")
_CHOICES = ("image", "flavor", "key", "secgroup", "network")
_IN_COMET = {
    "vm list": ("cluster",),
    "vm boot": ("start", "--count=1"),
    "vm boot NAME": ("power", "on"),
    "vm ip": ("node", "info"),
    "vm ssh": ("ssh",),
    "image list": ("iso", "list"),
}
"""Command of `cm` → arguments of `comet` that do the same in Comet; the options follow."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help")


class _Command(Context):
    """The arguments and settings of one command; `engine` connects to the cloud at its first use."""

    def __init__(self, given: argparse.Namespace, settings: Settings) -> None:
        super().__init__(given)
        self.given, self.settings = given, settings

    @property
    def cloud(self) -> str:
        return self.settings.cloud(self.given.cloud)

    @functools.cached_property
    def engine(self) -> Engine:
        return Engine(self.cloud, self.settings.clouds[self.cloud], self.settings.path)


def _default(command: _Command) -> None:
    given = getattr(command.given, "key=value")
    wrong = next((it for it in given if "=" not in it), None)
    if wrong is not None:
        raise UsageError(f"'{wrong}' is not KEY=VALUE, such as cloud=comet")
    if given:
        set_defaults(command.settings, dict(it.partition("=")[::2] for it in given), command.given.cloud)
        return
    found = {"cloud": command.cloud, "hpc": command.settings.default("", "hpc")}
    found |= {key: command.settings.default(command.cloud, key) for key in OF_CLOUDS}
    command.print([{"name": key, "value": it} for key, it in found.items() if it], columns("name", "value"))


def _cloud_list(command: _Command) -> None:
    rows = [{"name": COMET, "provider": COMET, "region": "", "url": ""}]
    for name, of in command.settings.clouds.items():  # without user and secret
        rows.append({"name": name, **{key: of.get(key, "") for key in ("provider", "region", "url")}})
    every = [{"default": it["name"] == command.cloud, **it} for it in rows]
    command.print(every, columns("name", "default", "provider", "region", "url"))


_COLUMNS = {
    "vm": "name state public_ips private_ips id",
    "image": "name id",
    "flavor": "name cpus ram disk id",
    "key": "name fingerprint",
    "secgroup": "name rules id",
}


def _list(command: _Command) -> int:
    """Print what the cloud has; where it does not answer, what it had last, and exit status 6."""
    what, of = command.given.what, command.settings.clouds[command.cloud]
    keys = _COLUMNS[what].split()
    status, cache = 0, Cache(cache_path(), f"cloud:{command.cloud}", f"{of['provider']}/{of['user']}")
    try:
        found = command.engine.all(what)
        rows = command.engine.ask(
            lambda: [{key: _cell(command.engine, it, key) for key in keys} for it in found]
        )
        cache.put(what, json.dumps(rows).encode(), "")
    except UnreachableError as error:
        known = cache.get(what)
        if known is None:
            raise
        warn(f"{error}\nthis is as of {format_age(time.time() - known.asked_at)} ago, from the cache")
        rows, status = json.loads(known.body), error.exit_status
    finally:
        cache.close()
    command.print(rows, columns(*keys, ram="ram (MB)", disk="disk (GB)"))
    return status


def _cell(engine: Engine, one: Any, key: str) -> Any:
    if key == "rules":
        return engine.row.rules(one)
    if key == "cpus":  # Libcloud has them in another place for each kind of cloud
        cpus = getattr(one, "vcpus", None) or one.extra.get("vcpu") or one.extra.get("cpu")
        return int(cpus) if cpus else None
    found = getattr(one, key)
    return str(found) if key == "state" else found


def _vm_boot(command: _Command) -> None:
    given, default = vars(command.given), command.settings.default
    chosen = {key: given[key] or default(command.cloud, key) for key in _CHOICES}
    for key in ("image", "flavor"):
        if not chosen[key]:
            raise UsageError(f"no {key} is chosen: --{key}=NAME, or cm default {key}=NAME, of cm {key} list")
    engine, driver = command.engine, command.engine.driver
    before = engine.all("vm")
    taken = {it.name for it in before}
    name = command.given.name or _free_name(taken)
    if not _MACHINE.fullmatch(name):
        raise UsageError(f"'{name}' is no machine's name: letters, digits, dot and dash, at most 63")
    if name in taken:
        raise RefusedError(f"cloud {engine.name} has a machine {name} already: give another name")
    found = {key: engine.choose(key, text) for key, text in chosen.items() if text}
    more = engine.row.place(found.get("network"), [found["secgroup"]] if "secgroup" in found else [])
    more |= {"name": name, "image": found["image"], "size": found["flavor"]}
    more |= {"ex_keyname": chosen["key"]} if chosen["key"] else {}

    attempts = 0

    def make() -> Any:
        """OpenStack's takes two requests, and only the second may have been refused: a repetition looks first."""
        nonlocal attempts
        attempts += 1
        made = _new(driver.list_nodes(), before, name) if attempts > 1 else []
        return made[0] if made else driver.create_node(**more)

    with signals_as_interrupts():
        try:
            node = engine.ask(make)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {_left(engine, before, name)}") from None
        except CometError as error:
            error.args = (f"{error}. {_left(engine, before, name)}",)
            raise
    show(
        f"{name} ({node.id}) is being made in cloud {engine.name}. "
        f"Its addresses: cm vm ip {name} --cloud={engine.name}"
    )


def _free_name(taken: set[str]) -> str:
    user = re.sub(r"[^a-z0-9]+", "-", getpass.getuser().lower()).strip("-")[:40] or "vm"
    return next(f"{user}-{number}" for number in range(1, len(taken) + 2) if f"{user}-{number}" not in taken)


def _new(machines: Sequence[Any], before: Sequence[Any], name: str) -> list[Any]:
    """The machines that were not there before and have the name, or none yet."""
    known = {it.id for it in before}
    found = [it for it in machines if it.id not in known and str(it.state) != "terminated"]
    return [it for it in found if it.name in (name, it.id, "", None)]


def _left(engine: Engine, before: Sequence[Any], name: str) -> str:
    """What a boot that did not end has left, and the command that removes it."""
    look, remove = f"cm vm list --cloud={engine.name}", f"cm vm delete {{}} --cloud={engine.name}"
    try:
        found = _new(engine.all("vm"), before, name)
    except (CometError, KeyboardInterrupt) as error:
        reason = str(error) or "it was not looked for"
        return f"it may have made {name} ({reason}). Look later: {look}; remove it: {remove.format(name)}"
    if not found:
        return f"cloud {engine.name} has no machine {name}"
    given = safe(str(found[0].name or found[0].id))
    return (
        f"cloud {engine.name} has the machine {given} ({found[0].state}). Remove it: {remove.format(given)}"
    )


def _delete(command: _Command) -> None:
    what, engine = command.given.what, command.engine
    found = engine.choose(what, command.given.name)
    disk = ", with its disk" if what == "vm" else ""
    command.confirm(f"This deletes {what} {found.name} in cloud {engine.name}{disk}. Go on?")
    delete = {"vm": engine.driver.destroy_node, "key": engine.driver.delete_key_pair}
    engine.ask(delete.get(what) or functools.partial(engine.row.delete_group, engine.driver), found)
    show(f"{what} {safe(str(found.name))} is deleted")


def _addresses(command: _Command, name: str) -> list[str]:
    """Public ones first. RefusedError where there is none yet, UnreachableError for what is none."""
    found = command.engine.choose("vm", name)
    addresses = [*found.public_ips, *found.private_ips]
    if not addresses:
        raise RefusedError(f"machine {found.name} is {found.state} and has no address yet")
    try:
        if any("%" in it for it in addresses):  # the zone of an IPv6 address may be any text
            raise ValueError("it has a zone")
        return [str(ipaddress.ip_address(it)) for it in addresses]
    except ValueError as error:
        raise UnreachableError(f"cloud {command.cloud} gave an address that is none: {error}") from None


def _vm_ip(command: _Command) -> None:
    show("\n".join(_addresses(command, command.given.name)))


def _vm_ssh(command: _Command) -> int:
    user, at, name = command.given.name.rpartition("@")
    if at and not USER.fullmatch(user):
        raise UsageError(f"{user!r} is no user of a machine: cm vm ssh root@{name}")
    login = user or command.settings.default(command.cloud, "login")
    address = _addresses(command, name)[0]
    return _ssh(["--", f"{login}@{address}" if login else address], None)


def _ssh(line: list[str], script: Optional[IO[bytes]]) -> int:
    try:
        return subprocess.call(["ssh", *line], stdin=script)
    except FileNotFoundError:
        raise UsageError("the program ssh is not here: install OpenSSH's client") from None


def _key_add(command: _Command) -> None:
    name, text, engine = command.given.name, public_key(command.given.file), command.engine
    engine.ask(engine.driver.import_key_pair_from_string, name, text)
    show(
        f"cloud {engine.name} has the key {name}. "
        f"Give it to new machines: cm default key={name} --cloud={engine.name}"
    )


def _secgroup_add(command: _Command) -> None:
    given, engine = command.given, command.engine
    ports = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", given.ports)
    first, last = (int(ports[1]), int(ports[2] or ports[1])) if ports else (0, 0)
    if given.protocol not in ("tcp", "udp") or not 1 <= first <= last <= 65535:
        raise UsageError(f"{given.protocol} {given.ports}: give tcp or udp, and a port or two, such as 80-81")
    try:
        source = str(ipaddress.ip_network(given.network))
    except ValueError as error:
        raise UsageError(f"{error}. Give a network such as 203.0.113.0/24 or 0.0.0.0/0") from None
    if given.name not in {it.name for it in engine.all("secgroup")}:
        engine.ask(engine.driver.ex_create_security_group, given.name, "made by cm secgroup add")
    group = engine.choose("secgroup", given.name)
    engine.ask(engine.row.open, engine.driver, group, given.protocol, (first, last), source)
    show(f"security group {given.name} lets in {given.protocol} {given.ports} from {source}")


def _hpc_run(command: _Command) -> int:
    """Slurm takes the script from ssh's input, so nothing of it is left on the login node."""
    path = Path(command.given.script)
    where = command.settings.login_node(command.given.hpc)
    try:
        with path.open("rb") as script:
            text = script.read()
            script.seek(0)
            if not text.startswith(b"#!"):
                raise UsageError(f"{path} is no script: its first line must be such as #!/bin/sh")
            line = ["sbatch"]
            if not re.search(rb"^#SBATCH\s+(.*\s)?(-J|--job-name)", text, re.MULTILINE):
                line.append(f"--job-name={re.sub('[^A-Za-z0-9._-]', '-', path.name)}")
            return _ssh(["--", where, *line], script)
    except KeyboardInterrupt:
        look = f"ssh {where} squeue --me"
        raise KeyboardInterrupt(f"interrupted; Slurm may have the job. Look for it: {look}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _in_comet(path: str, line: list[str]) -> int:
    """Run the command of `comet` that does the same in Comet; its exit status."""
    if path == "vm delete":
        raise UsageError("a computeset of Comet ends as a whole: comet terminate SET, of comet computeset")
    if path == "vm boot" and line and not line[0].startswith("-"):
        path = "vm boot NAME"
    if path not in _IN_COMET:
        raise UsageError(
            f"cm {path}: the cloud {COMET} has none. Choose another: --cloud=NAME; cm cloud list lists them"
        )
    return run_comet([*_IN_COMET[path], *line])


_TABLE: tuple[tuple[str, Callable[[_Command], Optional[int]], str], ...] = (
    ("default [KEY=VALUE]", _default, f"print or set defaults: of cloud, hpc, {', '.join(OF_CLOUDS)}"),
    ("cloud list", _cloud_list, "the clouds that you have"),
    ("vm boot [NAME]", _vm_boot, "make a machine, which starts (default: the first free USER-NUMBER)"),
    ("vm list", _list, "the machines in the cloud"),
    ("vm delete NAME", _delete, "delete a machine and its disk"),
    ("vm ip NAME", _vm_ip, "print the addresses of a machine"),
    ("vm ssh NAME", _vm_ssh, "log in to a machine; as another user: USER@NAME"),
    ("image list", _list, "the images that machines are made from"),
    ("flavor list", _list, "the sizes of machines"),
    ("key list", _list, "the SSH keys that new machines can get"),
    ("key add NAME FILE", _key_add, "give the cloud a public SSH key"),
    ("key delete NAME", _delete, "have the cloud forget a public SSH key"),
    ("secgroup list", _list, "the security groups, with what they let in"),
    ("secgroup add NAME PROTOCOL PORTS NETWORK", _secgroup_add,
     "let a network in, such as web tcp 80-81 203.0.113.0/24; a group that is not there is made"),
    ("secgroup delete NAME", _delete, "delete a security group"),
    ("hpc run SCRIPT", _hpc_run, "submit a batch job to Slurm on a login node, by ssh"),
)  # fmt: skip


def _path_of(usage: str) -> str:
    return " ".join(it for it in usage.split() if it.islower())


def run(line: Sequence[str]) -> int:
    """One command; its exit status, as those of `comet`."""
    typed = [*line[1:], "--help"] if line[0] == "help" else list(line)
    try:
        before, rest = _cloud_option(prog="cm", add_help=False).parse_known_args(typed)
        named = [it for it in rest if it not in ("-h", "--help")]
        is_help = len(named) < len(rest)
        path = named[0] if named[0] == "default" else " ".join(named[:2])
        row = next((it for it in _TABLE if _path_of(it[0]) == path), None)
        if row is None:
            usages = [f"cm {usage}: {text}" for usage, _, text in _TABLE if usage.split()[0] == named[0]]
            if is_help:
                show("\n".join(usages))
                return 0
            raise UsageError("\n".join([f"'cm {path}' is no command. There are:", *usages]))
        settings = load()
        if (
            not is_help
            and row[1] not in (_default, _cloud_list, _hpc_run)
            and settings.cloud(before.cloud) == COMET
        ):
            return _in_comet(path, rest[2:])
        given = _parser(path, *row).parse_args(
            [*named[len(path.split()) :], *(["--help"] if is_help else [])]
        )
        given.cloud = before.cloud
        return row[1](_Command(given, settings)) or 0
    except CometError as error:
        warn(str(error))
        return error.exit_status
    except SystemExit as end:  # --help
        return int(end.code or 0)


def _cloud_option(**named: Any) -> _Parser:
    found = _Parser(allow_abbrev=False, **named)
    found.add_argument("--cloud", default="", help="another cloud than the default", metavar="NAME")
    return found


def _parser(path: str, usage: str, function: object, text: str) -> _Parser:
    found = _cloud_option(prog=f"cm {path}", description=text)
    found.add_argument("--format", "-o", default="table", choices=("table", "json", "yaml", "csv"))
    found.add_argument("--yes", "-y", action="store_true", help="do not ask whether to go on")
    found.set_defaults(what=path.split()[0])
    for name in usage.split()[len(path.split()) :]:
        count = {"[NAME]": "?", "[KEY=VALUE]": "*"}.get(name)
        found.add_argument(name.strip("[]").lower(), metavar=name.strip("[]"), nargs=count)
    for choice in _CHOICES if path == "vm boot" else ():
        found.add_argument(f"--{choice}", default="", help=f"default: that of cm default {choice}=…")
    if path == "hpc run":
        found.add_argument("--hpc", default="", help="another system than the default", metavar="NAME")
    return found
