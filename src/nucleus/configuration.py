"""The settings: /etc/rocks/nucleus.toml, each also as a variable NUCLEUS_SECTION_KEY, which has precedence.

An unknown section or key is refused by its name. A value from the environment is read as its kind: text, number,
`true` or `false`, a list separated by commas (of hosts: `compute-0-[0-3],compute-1-0`).
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from nucleus.hostlists import expand
from nucleus.limits import MAX_WALLTIME_MINUTES
from rocks.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS_FILE = Path("/etc/rocks/nucleus.toml")


@dataclass(frozen=True)
class DatabaseSettings:
    """The schema of Nucleus, in the MariaDB server behind `socket`; its user is known by its Unix account."""

    socket: str = "/var/opt/rocks/mysql/mysql.sock"
    name: str = "nucleus"
    user: str = "nucleus"
    connections: int = 16


@dataclass(frozen=True)
class SiteSettings:
    """What the poller enters for a new machine, and `rocks` does not know."""

    dns1: str = ""
    dns2: str = ""
    ntp: str = ""


@dataclass(frozen=True)
class PollSettings:
    """How often `rocks` is asked, and how long one question may take."""

    power_seconds: float = 10.0
    topology_seconds: float = 60.0
    command_seconds: float = 60.0
    longest_pause_seconds: float = 300.0


@dataclass(frozen=True)
class ExecutorSettings:
    """How `rocks` is started: `local` in this process, or `socket` by the service `nucleus executor`."""

    kind: str = "local"
    program: str = "/opt/rocks/bin/rocks"
    socket: str = "/run/rocks-nucleus/executor.sock"


@dataclass(frozen=True)
class WorkSettings:
    """Bounds of what is done at the same time, and of one command that changes something."""

    threads: int = 16
    per_host: int = 8
    command_seconds: float = 60.0
    confirm_seconds: float = 90.0
    attempts: int = 3


@dataclass(frozen=True)
class BatchSettings:
    """Where computesets run, a whole host for each machine: `hosts` of the operator's list, or in a partition of Slurm.

    `user`: the account of the service, which Slurm has an association for with each allocation.
    """

    kind: str = "hosts"
    partition: str = ""
    user: str = "nucleus"
    hosts: list[str] = field(default_factory=list)
    walltime_minutes: int = 2880
    most_walltime_minutes: int = 43200


@dataclass(frozen=True)
class ComputesetSettings:
    """How long an end waits: for guests that shut down, and for images that are written back before an alarm."""

    grace_seconds: float = 120.0
    image_seconds: float = 3600.0
    reconcile_seconds: float = 30.0


@dataclass(frozen=True)
class ServiceSettings:
    """The address of the service for its clients, where that is not what their requests name: https://HOST/nucleus."""

    url: str = ""


@dataclass(frozen=True)
class AuthenticationSettings:
    """Ways in besides tokens. `password_file` has lines of `htpasswd -B`; the key seals the secrets of signatures."""

    password_file: str = ""
    login: bool = True
    signatures: bool = False
    sealing_key_file: str = "/etc/rocks/nucleus.key"
    most_token_days: int = 365


@dataclass(frozen=True)
class OidcSettings:
    """The site's identity provider (OpenID Connect), where it has one: tokens of `issuer` for `audience`.

    `pages`: the pages sign in there, too, with the audience as their client's name, and the secret of the file if any.
    """

    issuer: str = ""
    audience: str = "nucleus"
    pages: bool = False
    secret_file: str = ""
    username_claim: str = "preferred_username"
    algorithms: list[str] = field(default_factory=lambda: ["ES256", "RS256", "PS256"])


@dataclass(frozen=True)
class ImageSettings:
    """Where images are while they are uploaded, how large one may be, and whether owners may publish for everybody.

    `for_disks`: disk images of the site's library from which owners may have disks made.
    """

    folder: str = "/var/lib/rocks-nucleus/images"
    most_gb: int = 20
    owners_publish: bool = False
    for_disks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ResponsibilitySettings:
    """What owners acknowledge before their first power-on: a text of the site, or the one that comes with Nucleus.

    `leader_required`: also the leader of the cluster's project has to.
    """

    required: bool = True
    leader_required: bool = False
    text_file: str = ""


@dataclass(frozen=True)
class HistorySettings:
    """How long ended operations, nodes of ended computesets, removed nodes and the audit log are in the database.

    Older rows of the audit log are in files of `folder`. `changes_a_day`: what one owner can add; a change of many
    nodes counts for each.
    """

    days: int = 365
    folder: str = "/var/lib/rocks-nucleus/audit"
    changes_a_day: int = 10_000


@dataclass(frozen=True)
class MailSettings:
    """The site's mail server, HOST or HOST:PORT, for mails to owners; none where it is empty."""

    server: str = ""
    sender: str = ""
    text_file: str = ""


@dataclass(frozen=True)
class ConsoleSettings:
    """How long a console may be open, and where the libraries of its pages are (`tools/browser-libraries`)."""

    most_minutes: int = 60
    libraries: str = "/opt/rocks/share/nucleus"


@dataclass(frozen=True)
class MetricsSettings:
    """The site's Prometheus, http://HOST:9090, with the metrics of prometheus-libvirt-exporter; none where empty."""

    prometheus: str = ""


@dataclass(frozen=True)
class ListenSettings:
    """Where nginx listens for the service: a unix socket, else an address and port; TLS where it has a certificate.

    Owners' tokens go over this connection: anything but the machine itself needs TLS.
    """

    socket: str = ""
    address: str = "127.0.0.1"
    port: int = 8372
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class Configuration:
    """All settings; each section's defaults are those of a site that has no file."""

    database: DatabaseSettings = DatabaseSettings()
    site: SiteSettings = SiteSettings()
    poll: PollSettings = PollSettings()
    executor: ExecutorSettings = ExecutorSettings()
    work: WorkSettings = WorkSettings()
    batch: BatchSettings = BatchSettings()
    computesets: ComputesetSettings = ComputesetSettings()
    console: ConsoleSettings = ConsoleSettings()
    listen: ListenSettings = ListenSettings()
    service: ServiceSettings = ServiceSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    oidc: OidcSettings = OidcSettings()
    images: ImageSettings = ImageSettings()
    responsibility: ResponsibilitySettings = ResponsibilitySettings()
    mail: MailSettings = MailSettings()
    history: HistorySettings = HistorySettings()
    metrics: MetricsSettings = MetricsSettings()


_PART = re.compile(r"(?:\[[^\]]*\]?|[^,\[])+")
"""A part of a list in one text: what is between commas that are in no brackets."""

_SLURM_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""The name of a partition or a user: not an option of a program, nor a list."""

_CHOICES = {("executor", "kind"): ("local", "socket"), ("batch", "kind"): ("hosts", "slurm")}


def read_configuration(
    path: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Configuration:
    """The settings of the file and the environment. `path` None: NUCLEUS_FILE, else `SETTINGS_FILE` if it exists.

    UserError for a file that cannot be read, an unknown section or key, and a value of another kind.
    """
    named = path or (Path(environment["NUCLEUS_FILE"]) if environment.get("NUCLEUS_FILE") else None)
    content = _read_file(named or SETTINGS_FILE, must_exist=named is not None)
    sections = get_type_hints(Configuration)
    source = str(named or SETTINGS_FILE)
    _check_known(content, sections, f"{source}: section")
    values = {}
    for name, kind in sections.items():
        given = content.get(name, {})
        if not isinstance(given, dict):
            raise UserError(f"{source}: {name} is a section: write [{name}] and its keys below it")
        values[name] = _section(name, kind, given, source, environment)
    _check_batch(values["batch"], source)
    _check_mail(values["mail"], source)
    prometheus = values["metrics"].prometheus
    if prometheus and not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[!-?A-~]*)?", prometheus, re.ASCII):
        raise UserError(f"{source}: [metrics] prometheus is http://HOST:PORT, and not {prometheus!r}")
    return Configuration(**values)


def _check_batch(batch: BatchSettings, source: str) -> None:
    if batch.kind == "slurm" and batch.hosts:
        raise UserError(f"{source}: [batch] hosts is for kind = 'hosts'; with Slurm, remove it")
    if batch.kind == "slurm" and not (
        _SLURM_NAME.fullmatch(batch.partition) and _SLURM_NAME.fullmatch(batch.user)
    ):
        raise UserError(f"{source}: [batch] kind = 'slurm' needs the names of a partition and of a user")
    if batch.kind == "hosts" and batch.partition:
        raise UserError(f"{source}: [batch] partition is for kind = 'slurm'; set that, or remove it")
    if not 1 <= batch.most_walltime_minutes < MAX_WALLTIME_MINUTES:
        raise UserError(
            f"{source}: [batch] most_walltime_minutes is from 1 to {MAX_WALLTIME_MINUTES - 1}, and not"
            f" {batch.most_walltime_minutes}"
        )


def _check_mail(mail: MailSettings, source: str) -> None:
    named = re.fullmatch(r"[A-Za-z0-9.-]+(?::([0-9]{1,5}))?", mail.server, re.ASCII)
    if mail.server and not (named and 0 < int(named[1] or 25) < 2**16):
        raise UserError(f"{source}: [mail] server is HOST or HOST:PORT, and not {mail.server!r}")
    if mail.server and not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", mail.sender, re.ASCII):
        raise UserError(
            f"{source}: [mail] sender is the address that mails come from, and not {mail.sender!r}"
        )


def _read_file(path: Path, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise UserError(
                f"{path} does not exist; nucleus --file FILE or the variable NUCLEUS_FILE names the settings"
            ) from None
        return {}
    except OSError as error:
        raise UserError(f"cannot read {path} with the settings of Nucleus: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None


def _section(
    name: str, kind: type[Any], given: dict[str, Any], source: str, environment: Mapping[str, str]
) -> Any:
    hints = get_type_hints(kind)
    _check_known(given, hints, f"{source}: [{name}]")
    values = {key: _checked(value, hints[key], name, key, source) for key, value in given.items()}
    for one in fields(kind):
        variable = f"NUCLEUS_{name}_{one.name}".upper()
        if variable in environment:
            value = _from_text(environment[variable], hints[one.name], variable)
            values[one.name] = _checked(value, hints[one.name], name, one.name, variable)
    return kind(**values)


def _check_known(given: Mapping[str, Any], known: Mapping[str, Any], place: str) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{place} has no {key!r}; it may have: {', '.join(known)}")


def _from_text(text: str, hint: Any, variable: str) -> Any:
    try:
        if hint is bool:
            return {"true": True, "false": False}[text.lower()]
        if hint is int or hint is float:
            return hint(text)
    except (ValueError, KeyError):
        raise UserError(f"{variable} is {text!r}: {_KINDS[hint]} is needed") from None
    if hint == list[str]:
        return [part.strip() for part in _PART.findall(text) if part.strip()]
    return text


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _checked(value: Any, hint: Any, section: str, key: str, source: str) -> Any:
    place = f"{source}: {key} of [{section}]"
    if hint == list[str]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UserError(f"{place} is {value!r}: a list of texts is needed")
        # a host that is named twice would get two nodes of a computeset
        return list(dict.fromkeys(name for one in value for name in expand(one))) if key == "hosts" else value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{place} is {value!r}: {_KINDS[hint]} is needed")
    if hint in (int, float) and not 0 < value < 1e9 and key not in _MAY_BE_ZERO:
        raise UserError(f"{place} is {value!r}: a number above zero is needed")
    choices = _CHOICES.get((section, key))
    if choices and value not in choices:
        raise UserError(f"{place} is {value!r}: it is one of {', '.join(choices)}")
    return value


_MAY_BE_ZERO = {"port", "grace_seconds"}
