"""`rocks pragma boot`"""

from contextlib import suppress
from pathlib import Path

import rocks.commands
from rocks.core.errors import HostError, RocksError
from rocks.core.names import printable
from rocks.core.values import in_unit

from .._shared.cluster_list import NAME
from .._shared.drivers import LARGEST_MEMORY_MB, LEAST_MEMORY_MB, BootRequest, driver_of
from .._shared.log import check_level, log_of_boot
from .._shared.repository import unknown_cluster
from .._shared.site import read_settings, whole_number
from .._shared.starting import start

RollName = "pragma"
_MAX_CPUS = 100_000


class Command(rocks.commands.Command):
    """
    Boot a cluster of the repository: a frontend with the next public address of the site, and computes with so many
    CPUs in all, one on each VM container that is used.

    The cluster is added as a whole or not at all; the line "Allocated cluster NAME" follows, here and in the log. Then
    it is started. Its name is the first label of the address's name. Its machines get vc-out.xml by the disk for
    cloud-init.

    <arg type='string' name='vc' of='none'>
    Name of the cluster image (rocks pragma list repository).
    </arg>
    <arg type='int' name='cpus' range='0..100000' unit='CPUs'>
    CPUs of all computes; 0 boots the frontend alone.
    </arg>
    <param type='string' name='key' of='file' default="the user's .ssh/id_rsa.pub, or the attribute vm_authorized_keys">
    File with public SSH keys, one a line, that may log in as root.
    </param>
    <param type='string' name='mem' default='those in vc-in.xml, else 2048' unit='MB'>
    Memory of each machine; FRONTEND:COMPUTE for two values.
    </param>
    <param type='string' name='add-iface' default='none'>
    Further interfaces of all machines: NETWORK or NETWORK:ADDRESS/PREFIX, separated by commas, of the networks in the
    attribute pragma_additional_interfaces. The frontend has that address, and computes have the next ones; with the
    address of the network itself the site chooses, as without one.
    </param>
    <param type='string' name='logfile' of='file' default='VC-DATE.log in the folder of pragma_log_folder'>
    File to which the log is appended.
    </param>
    <param type='string' name='loglevel' default='INFO' values='DEBUG,INFO,WARNING,ERROR,CRITICAL'>
    Ignored; accepted for callers of the second generation. The log is the same with each value.
    </param>
    <param type='string' name='enable-ipop-client' default='none'>
    Refused: IPOP is not supported.
    </param>
    <param type='string' name='enable-ipop-server' default='none'>
    Refused: IPOP is not supported.
    </param>
    <param type='string' name='hosts' of='host' default='those that run virtual machines'>
    The hosts, separated by commas, on which all machines of the cluster run, the frontend on one of them.
    </param>
    <param type='string' name='request' default='none'>
    Name of this request: a repetition with the same name boots no second cluster, but starts the first one.
    </param>
    <param type='bool' name='wait' default='no'>
    yes: wait until the frontend answers by SSH.
    </param>
    <shared names='dry-run'/>

    <example cmd='pragma boot dock6 4'>
    A frontend, and computes with 4 CPUs.
    </example>
    <example cmd='pragma boot dock6 4 mem=4096:8192 key=/root/ann.pub wait=yes'>
    With memory and keys; return when the frontend answers.
    </example>
    <related>pragma list cluster</related>
    <related>pragma shutdown</related>
    <related>pragma clean</related>
    """

    AdviceAfterInterrupt = (
        "after the line Allocated cluster NAME: rocks pragma shutdown NAME, then rocks pragma clean NAME"
    )

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Allocate and start the cluster; print each step."""
        _, (vc, cpus) = self.splitArguments(("vc", "cpus"))
        if not vc or not cpus:
            self.abort("must supply a cluster image (rocks pragma list repository) and the number of CPUs")
        for name in ("enable-ipop-client", "enable-ipop-server"):
            if self.fillText(name) is not None:
                self.abort(f"{name}: IPOP is not supported; boot without it")
        check_level(self)
        if not NAME.fullmatch(vc):
            raise unknown_cluster(vc)
        request = BootRequest(
            vc, self._cpus(cpus), *self._memory_mb(), self._key(), self.fillText("add-iface") or "",
            self.fillText("request") or "", tuple(filter(None, (self.fillText("hosts") or "").split(","))),
        )  # fmt: skip
        settings = read_settings(self)
        driver = driver_of(self, settings)
        log = log_of_boot(self.fillText("logfile"), settings.logs, vc)
        try:
            cluster = driver.allocate(request)
            machines = " ".join((cluster.name, *cluster.computes))
            line = f"Allocated cluster {cluster.name} at {cluster.address}: {machines}"
            self.showLine(line)
            log.write(line)
            start(self, driver, cluster, self.showProgress, self.fillFlag("wait"))
        except RocksError as error:
            with suppress(HostError):  # a log that cannot be written hides no error
                log.write(f"Error: {error}")
            raise
        finally:
            self.showProgress("")
        # the start has printed what failed
        failed = f"not all machines of {cluster.name} have started; {driver.continuation} {cluster.name}"
        log.write(f"Error: {failed}" if self.exit_status else f"Started cluster {cluster.name}")
        if not self.exit_status:
            self.showLine(f"Started cluster {cluster.name}")

    def _cpus(self, text: str) -> int:
        cpus = whole_number(text)
        if cpus is None or cpus > _MAX_CPUS:
            self.abort(f"cpus must be 0 to {_MAX_CPUS}, not {printable(text)[:40]}")
        return cpus

    def _memory_mb(self) -> tuple[int | None, int | None]:
        text = self.fillText("mem")
        if not text:
            return None, None
        found = [whole_number(in_unit("mem", one, "MB")) or 0 for one in text.split(":")]
        if len(found) > 2 or not all(LEAST_MEMORY_MB <= one <= LARGEST_MEMORY_MB for one in found):
            self.abort(f"mem must be MB or FRONTEND:COMPUTE, each {LEAST_MEMORY_MB} to {LARGEST_MEMORY_MB}")
        return found[0], found[-1]

    def _key(self) -> str | None:
        given = self.fillText("key")
        if given:
            return given
        own = Path("~/.ssh/id_rsa.pub").expanduser()
        return str(own) if own.is_file() else None
