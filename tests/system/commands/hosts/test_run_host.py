"""Commands on hosts: this machine, one behind a real sshd, and one that is not there; and the keys to them."""

import io
import math
import socket
import threading
import time
from pathlib import Path

import pytest

from rocks.commands._framework.base import Command
from rocks.fleet import first_contact
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, read_known_hosts, record_host_keys
from tests.patience import patience
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import ANY_KEY, SILENT, Sshd, confirmed


def test_sync_host_sharedkey_prints_the_fingerprint_once(reached: Site, server: Sshd) -> None:
    key = parse_host_key(server[0].host_key)
    assert reached.done("sync host sharedkey compute-0-0", confirmed(server)) == (
        f"compute-0-0: host key recorded: ssh-ed25519 {key.fingerprint}\n"
        "compute-0-0: public key was already installed\n"
    )
    assert (
        reached.done("sync host sharedkey compute-0-0 head")
        == "compute-0-0: public key was already installed\n"
    )


class Listener:
    """A machine at a host's address: the real sshd behind it, and all that was sent to it."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self._target)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        """A thread that still waited would take a connection of a later test's server."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()


def test_nothing_is_sent_to_a_key_that_nobody_confirmed(
    reached: Site, settings: FleetSettings, server: Sshd
) -> None:
    """One connection, which ends with the key exchange; no login, no program `ssh`, and no key is recorded."""
    reached.patch.setattr(
        first_contact,
        "run_interactively",
        lambda *arguments, **more: pytest.fail("ssh asks for the password"),
    )
    listener = Listener((server[0].address, server[0].port))
    reached.done("set host attr compute-0-0 ssh_port", str(listener.port))
    reached.change("UPDATE networks SET IP = '127.0.0.1' WHERE IP = %s", (server[0].address,))
    fingerprint = parse_host_key(server[0].host_key).fingerprint
    try:
        for number, arguments in enumerate(
            ((), ("replace=yes",), (f"fingerprint={ANY_KEY.fingerprint}",)), 1
        ):
            message = reached.refused("sync host sharedkey compute-0-0", *arguments)
            if number < 3:
                assert "is not confirmed, so nothing was sent to it" in message
                assert f"rocks sync host sharedkey compute-0-0 fingerprint={fingerprint}" in message
            else:  # somebody has read another one on the console, and must not be led to accept this one
                assert f"presents {fingerprint} (ssh-ed25519), which is not the given" in message
                assert "nothing was sent to it" in message and "fingerprint=" not in message
            assert listener.connections == number
            assert not Path(settings.known_hosts_file).exists()
    finally:
        listener.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "is_yes"), [("yes\n", True), ("y\n", False), ("no\n", False), ("\n", False), ("", False)]
)
def test_a_person_confirms_the_key_at_the_terminal(
    reached: Site, server: Sshd, answer: str, is_yes: bool
) -> None:
    """The fingerprint is shown first; only the whole word counts."""
    reached.patch.setattr(Command, "asks", True)
    reached.patch.setattr("sys.stdin", io.StringIO(answer))
    ended = reached.rocks("sync host sharedkey compute-0-0")
    fingerprint = parse_host_key(server[0].host_key).fingerprint
    assert ended.err.startswith(f"compute-0-0 presents the key ssh-ed25519 {fingerprint}\n")
    assert ended.status == (0 if is_yes else 1)
    assert ("host key recorded" in ended.out) is is_yes


def test_a_fingerprint_is_that_of_one_host(reached: Site, server: Sshd) -> None:
    assert "of one host, not of 2" in reached.refused("sync host sharedkey compute", confirmed(server))
    assert "must be one that ssh-keygen -l prints" in reached.refused(
        "sync host sharedkey compute-0-0 fingerprint=aa:bb"
    )


def test_sync_host_sharedkey_rejects_another_key_without_replace(
    reached: Site, settings: FleetSettings, server: Sshd
) -> None:
    host = HostAddress("compute-0-0", "127.0.0.1")
    record_host_keys(settings.known_hosts_file, host, (ANY_KEY,))
    message = reached.refused("sync host sharedkey compute-0-0")
    assert ANY_KEY.fingerprint in message and "replace=yes" in message
    assert reached.rocks("run host compute-0-0 true").status == 1
    assert "replace=yes" in reached.refused("sync host sharedkey compute-0-0", confirmed(server))
    assert "host key recorded" in reached.done(
        "sync host sharedkey compute-0-0 replace=yes", confirmed(server)
    )
    assert reached.done("run host compute-0-0 'echo in'") == "in\n"


@pytest.mark.slow
def test_the_key_of_a_host_goes_with_its_name(known: Site, server: Sshd, settings: FleetSettings) -> None:
    """Another machine that gets the name of a removed or renamed host is one whose key nobody has confirmed."""
    file = Path(settings.known_hosts_file)
    before = file.read_text()
    assert f"would write {file}" in known.done("remove host compute-0-1 dry-run=yes")
    assert file.read_text() == before
    known.done("remove host compute-0-1")
    assert "compute-0-1" not in read_known_hosts(str(file))
    left = file.read_text()
    known.done("set host name compute-0-0 renamed")
    assert file.read_text() == left.replace("compute-0-0,", "renamed,") != left
    assert known.done("run host renamed", "echo hello") == "hello\n"
    known.done("add host compute-0-0 rank=7")
    known.done("set host attr compute-0-0 ssh_port", str(server[0].port))
    known.change(
        "INSERT INTO networks (Node, IP) SELECT ID, %s FROM nodes WHERE Name = 'compute-0-0'",
        (server[0].address,),
    )
    assert "is not confirmed" in known.refused("sync host sharedkey compute-0-0")


def test_sync_host_sharedkey_goes_on_after_a_host_that_is_down(reached: Site) -> None:
    reached.patch.setattr(Command, "asks", True)
    reached.patch.setattr("sys.stdin", io.StringIO("yes\n"))
    ended = reached.rocks("sync host sharedkey compute")
    assert ended.status == 3
    assert "compute-0-0: host key recorded" in ended.out
    assert "Error: compute-0-1: " in ended.err


def test_run_host_here_and_there(known: Site) -> None:
    ended = known.rocks("run host head compute-0-0 collate=yes 'echo one; echo two'")
    assert (ended.status, ended.err) == (0, "")
    assert sorted(ended.out.splitlines()) == [
        "compute-0-0: one",
        "compute-0-0: two",
        "head: one",
        "head: two",
    ]
    assert known.done("run host head", "command=X=1; echo $X 'a  b' \"<&>\"") == "1 a  b <&>\n"


def test_run_host_distinguishes_failures(known: Site) -> None:
    ended = known.rocks("run host head compute-0-0 compute-0-1", 'test -n "$SSH_CONNECTION" || exit 7')
    assert ended.status == 3
    assert ended.out == "compute-0-1: down\n"
    assert ended.err == "head: exit status 7\n"
    ended = known.rocks("run host head compute-0-0 collate=yes 'echo bad >&2; exit 1'")
    assert ended.status == 1
    assert sorted(ended.err.splitlines()) == [
        "compute-0-0: bad",
        "compute-0-0: exit status 1",
        "head: bad",
        "head: exit status 1",
    ]


@pytest.mark.slow
def test_run_host_kills_at_the_timeout(known: Site) -> None:
    begin = time.monotonic()
    timeout = math.ceil(patience(1))
    ended = known.rocks(f"run host head compute-0-0 timeout={timeout} 'echo begun; sleep 600'")
    assert time.monotonic() - begin < 300
    assert ended.status == 1
    assert sorted(ended.out.splitlines()) == [
        "begun",
        "begun",
        "compute-0-0: timeout, the command was killed",
        "head: timeout, the command was killed",
    ]


@pytest.mark.slow
def test_run_host_waits_without_limit_with_timeout_0(known: Site) -> None:
    for seconds in ("0", "1000000"):
        assert known.done("run host head compute-0-0", f"timeout={seconds}", "sleep 0.1; echo x") == "x\nx\n"


def test_run_host_without_hosts_means_managed_ones(known: Site) -> None:
    known.done("remove host compute-0-1")
    assert known.done("run host collate=y 'true; echo x'") == "compute-0-0: x\n"
    out = known.done("run host collate=y managed=no 'echo x'")
    assert sorted(out.splitlines()) == ["compute-0-0: x", "head: x"]
    known.done("set appliance attr compute managed false")
    notified = known.rocks("run host 'echo x'")
    assert (notified.status, notified.out) == (0, "")
    assert notified.err.startswith("no host selected: ")


def test_run_host_delays_starts_and_prints_durations(known: Site) -> None:
    arguments = ("run", "host", "head", "compute-0-0", "delay=1", "num-threads=1", "stats=yes", "true")
    begin = time.monotonic()
    out = known.done(*arguments)
    assert time.monotonic() - begin >= 1
    assert [line.split(" took ")[0] for line in out.splitlines()] == [
        "command on host compute-0-0",
        "command on host head",
    ]
    assert known.done("run host head num-threads=0 'echo all'") == "all\n"


def test_run_host_takes_a_name_where_there_is_no_address(known: Site) -> None:
    known.done("add host no-such-machine membership=compute rack=3 rank=0")
    ended = known.rocks("run host no-such-machine true")
    assert (ended.status, ended.out) == (1, "no-such-machine: down\n")


def test_run_host_refuses(known: Site) -> None:
    for arguments, message in (
        ([], "must supply a command"),
        (["compute-0-0"], 'must supply a command: "compute-0-0" is the name of a host'),
        (["head", "tr\0ue"], "is not valid text"),
    ):
        assert message in known.refused("run host", *arguments)
    known.set_as_before("ssh_port", "many", "compute-0-0")
    ended = known.rocks("run host compute-0-0 head 'echo in'")
    assert ended.status == 3 and ended.out == "in\n" and 'ssh_port of compute-0-0 is "many"' in ended.err


@pytest.mark.slow
def test_a_name_of_hosts_alone_is_no_command(known: Site) -> None:
    """`run host compute` would run a program `compute` on all hosts; by command= it does."""
    known.done("add host alias compute-0-0 web")
    for name, what, selector in (
        ("compute-0-0", "a host", "compute-0-0"),
        ("web", "an alias", "web"),
        ("Compute", "an appliance", "compute"),
        ("vm container", "a membership", "vm-container"),
        ("rack0", "a rack", "rack0"),
    ):
        for verb in ("run", "iterate"):
            assert (
                f'must supply a command: "{name}" is the name of {what}; rocks {verb} host {selector} command="..."'
                in known.refused(verb, "host", name)
            )
    ended = known.rocks("run host compute-0-0 compute")
    assert ended.status == 1 and "compute: " in ended.err
    ended = known.rocks("run host command=compute")
    assert ended.status == 1 and "compute: " in ended.err


def test_a_command_that_looks_like_a_parameter_is_not_lost(known: Site) -> None:
    ended = known.rocks("run host head 'LANG=C ls'")
    assert (ended.status, ended.out) == (1, "")
    assert (
        'knows no parameter "LANG"; an argument that looks like one is given by its name, as in command=LANG=…'
        in ended.err
    )


def test_the_address_is_the_one_on_the_primary_network(known: Site) -> None:
    known.change("UPDATE networks SET Subnet = (SELECT ID FROM subnets WHERE name = 'private')")
    known.done("add host interface compute-0-0 eth9 ip=203.0.113.7 subnet=public")
    assert known.done("run host compute-0-0 timeout=120 'echo in'") == "in\n"
    known.done("set host attr compute-0-0 primary_net public")
    known.change("UPDATE networks SET IP = %s WHERE Device = 'eth9'", (SILENT,))
    assert known.rocks("run host compute-0-0 true").out == "compute-0-0: down\n"


def test_sync_host_network_runs_that_part_of_the_profile_and_nothing_else(known: Site) -> None:
    """A second run changes nothing; files of a removed interface go; a host that is not there is named."""
    folder = "/etc/systemd/network"
    for host, number in (("compute-0-0", 7), ("compute-0-1", 8)):
        address = (f"ip=203.0.113.{number}", "subnet=public", f"mac=52:54:00:00:00:0{number}")
        # with a name of its own: the host is reached at another address
        known.done("add host interface", host, "lan0", *address, f"name={host}-lan")
    known.done("add host interface compute-0-0 lan1 mac=52:54:00:00:00:09")
    known.done("add route 10.2.0.0 203.0.113.1 netmask=255.255.0.0")
    assert known.rocks("sync host network compute-0-0").out == (
        "compute-0-0: left as it is: the network, for systemd-networkd.service is not enabled; see the attribute "
        "host_network\n"
    )
    known.done("set host attr compute host_network yes")
    ended = known.rocks("sync host network compute-0-0 compute-0-1")
    assert ended.status == 3 and "Error: compute-0-1: host compute-0-1 cannot be asked" in ended.err
    for name in ("10-lan0.link", "10-lan0.network", "10-lan0.network.d/routes.conf", "10-lan1.network"):
        assert f"compute-0-0: file {folder}/{name}\n" in ended.out
    assert "packages" not in ended.out and "profile" not in ended.out
    again = known.rocks("sync host network compute-0-0")
    assert (again.status, again.out) == (0, "")
    known.done("set host attr compute-0-0 firewall true")
    without_key = known.rocks("sync host network compute-0-0")
    assert without_key.status == 1 and without_key.err, (
        "its rules are synced too, with a key that is not there"
    )
    known.done("remove host attr compute-0-0 firewall")
    known.done("remove host interface compute-0-0 lan1")
    known.done("remove route 10.2.0.0")
    removed = known.rocks("sync host network compute-0-0").out.splitlines()
    assert sorted(removed) == [
        f"compute-0-0: removed {folder}/{name}"
        for name in ("10-lan0.network.d/routes.conf", "10-lan1.link", "10-lan1.network")
    ]
    assert known.done("run host compute-0-0", f"find {folder} -name '*lan1*' -o -name routes.conf") == ""
    known.done("set host attr compute-0-0 host_network no")
    refused = known.rocks("sync host network compute-0-0")
    assert refused.status == 1 and "host_network must not be no" in refused.err
