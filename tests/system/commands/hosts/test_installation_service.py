"""The installation service: real HTTPS requests, with the frontend's certificate, from addresses of hosts."""

import http.client
import socket
import ssl
import subprocess  # noqa: TID251 - its constant for a pipe
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rocks.core.errors import HostError, StateError
from rocks.fleet.connection import FleetSettings
from rocks.fleet.https.server import Answer, Bounds, HttpsServer, Request
from rocks.install.installation import service as installation_service
from rocks.install.installation.installations import Offer
from rocks.install.installation.service import answer_request, create_service
from rocks.storage.broker import broker as message_broker
from rocks.trust.x509 import CertificateSpec, has_address
from tests.patience import patience
from tests.servers import answering, free_port
from tests.system.commands.conftest import Site
from tests.system.commands.hosts.conftest import (
    HOST_ADDRESS,
    MAC,
    STATED,
    STRANGER,
    Response,
    Service,
    start_service,
)
from tests.waiting import wait_until


def test_a_host_that_is_to_be_installed_gets_its_files(hosts: Site, service: Service) -> None:
    for path in ("/install/kickstart", "/install/sbin/kickstart.cgi?arch=x86_64&np=4"):
        found = service.get(path)
        assert (found.status, found.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert found.text == hosts.done("list host installfile vmc-0-0 section=kickstart")
    assert service.get("/install/profile", as_root=True).text == hosts.done("report host profile vmc-0-0")
    found = service.get("/install/preseed")
    assert found.status == 403 and "set host attr HOST packaging deb" in found.text
    assert service.log[0] == f"{HOST_ADDRESS} 200 /install/kickstart"


def test_others_get_a_page_that_says_why(hosts: Site, service: Service) -> None:
    for found, status, reason in (
        (service.get("/install/kickstart", STRANGER), 403, f"no host has the address {STRANGER}"),
        (service.get("/install/kickstart", headers={}), 403, "add inst.ks.sendmac"),
        (service.get("/etc/passwd"), 404, "there is no /etc/passwd here"),
        (
            service.get("/install/../install/secrets?<script>"),
            404,
            "there is no /install/../install/secrets here",
        ),
        (service.get("/<script>"), 404, "there is no /&lt;script&gt; here"),
        (
            service.get("/install/secrets", headers={"X-RHN-Provisioning-MAC-0": "eth0 02:aa:00:00:00:02"}),
            403,
            "another MAC address than 02:aa:00:00:00:02",
        ),
    ):
        assert found.status == status, found.text
        assert "<h1>KickstartError</h1>" in found.text and reason in found.text
        assert "vmc-0-0" not in found.text
    assert service.get("/install/kickstart", method="POST").status == 404
    assert service.get("/install/kickstart", method="PUT").status == 501
    hosts.done("set host boot vmc-0-0 action=os")
    found = service.get("/install/kickstart")
    assert found.status == 403 and "rocks set host boot vmc-0-0 action=install" in found.text


def test_an_invalid_attribute_is_reported_to_the_installing_host(hosts: Site, service: Service) -> None:
    hosts.set_as_before("packaging", "brew", "vmc-0-0")
    found = service.get("/install/profile", as_root=True)
    assert found.status == 403 and "rocks set host attr vmc-0-0 packaging deb" in found.text


def test_secrets_are_handed_out_once_for_each_installation(
    hosts: Site, service: Service, tmp_path: Path
) -> None:
    secret = tmp_path / "value"
    secret.write_text("swordfish\n")
    secret.chmod(0o600)
    hosts.done("set host sec_attr vmc-0-0 root_key", f"file={secret}")
    # what the frontend itself uses, such as the password of its BMC, is not for the host: sync host sec_attr
    hosts.done("set host sec_attr vmc-0-0 ipmi_password", f"file={secret}")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: service.get("/install/secrets", as_root=True), range(4)))
    assert sorted(one.status for one in found) == [200, 403, 403, 403]
    assert [one.text for one in found if one.status == 200] == ["root_key:swordfish\n"]
    assert all(
        "were handed out before" in one.text and "swordfish" not in one.text
        for one in found
        if one.status == 403
    )
    assert "swordfish" not in service.get("/install/kickstart").text

    hosts.done("set host boot vmc-0-0 action=os")
    assert service.get("/install/secrets", as_root=True).status == 403
    hosts.done("set host boot vmc-0-0 action=install")
    for path in ("/install/secrets", "/install/profile", "/install/plan"):
        of_a_user = service.get(path)
        assert of_a_user.status == 403 and "send it from a port below 1024" in of_a_user.text
    assert service.get("/install/secrets", as_root=True).text == "root_key:swordfish\n"


def test_the_neighbours_mac_address_counts_more_than_what_the_client_says(hosts: Site) -> None:
    request = Request(HOST_ADDRESS, "/install/secrets", list(STATED.items()), 1023)
    offer = (Offer("https://10.1.0.1", FleetSettings()), Path("/nowhere"))
    refused = answer_request(hosts.database, request, "02:aa:00:00:00:02", *offer)
    assert refused.status == 403 and b"another MAC address" in refused.body
    profile = Request(HOST_ADDRESS, "/install/profile", [], 1023)
    assert answer_request(hosts.database, profile, MAC, *offer).status == 200
    hosts.database.rollback()


def test_too_much_work_is_503_with_a_time(pki: Path) -> None:
    begun, release = threading.Barrier(3), threading.Event()

    def slow(request: Request) -> Answer:
        begun.wait(120)
        release.wait(120)
        return Answer(200, "text/plain", b"done")

    pair = message_broker.node_authority().bundle("head").pair
    with answering(HttpsServer(("127.0.0.1", 0), pair, slow, lambda line: None, Bounds(workers=2))) as server:
        service = Service(server, (pki / "ca.crt").read_text())
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(service.get, "/x") for _ in range(2)]
            begun.wait(120)
            busy = service.get("/x")
            release.set()
            assert [one.result().text for one in waiting] == ["done", "done"]
    assert (busy.status, busy.headers["Retry-After"]) == (503, "15")


def test_a_host_that_asks_without_end_leaves_workers_for_others(hosts: Site, service: Service) -> None:
    begun, release = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> str:
        begun.release()
        release.wait(120)
        return ""

    hosts.patch.setattr(installation_service, "_text", slow)
    with ThreadPoolExecutor(Bounds().per_address) as pool:
        waiting = [pool.submit(service.get, "/install/kickstart") for _ in range(Bounds().per_address)]
        try:
            assert all(begun.acquire(timeout=120) for _ in waiting)
            other = service.get("/install/kickstart", STRANGER)
        finally:
            release.set()
        assert {one.result().status for one in waiting} == {200}
    assert other.status == 403 and f"no host has the address {STRANGER}" in other.text


@pytest.mark.slow
def test_clients_that_say_nothing_do_not_keep_others_out(pki: Path) -> None:
    pair = message_broker.node_authority().bundle("head").pair
    bounds = Bounds(per_address=3, seconds=patience(5))
    answer = Answer(200, "text/plain", b"x")
    with answering(
        HttpsServer(("127.0.0.1", 0), pair, lambda request: answer, lambda line: None, bounds)
    ) as server:
        service = Service(server, (pki / "ca.crt").read_text())
        silent = [
            socket.create_connection(("127.0.0.1", service.port), source_address=(STRANGER, 0))
            for _ in range(6)
        ]
        assert service.get("/x").status == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            service.get("/x", STRANGER)
        for connection in silent:
            connection.settimeout(120)
            assert connection.recv(1) == b""  # cut off by the server
            connection.close()

        def answers() -> (
            bool
        ):  # a connection counts until its thread has ended, which is after the client sees its end
            try:
                return service.get("/x", STRANGER).status == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(answers)


def test_a_frontend_without_a_certificate_or_a_free_port_says_so(
    hosts: Site, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(
        HostError, match=f"cannot listen on 127.0.0.1, port {service.port}: Address already in use"
    ):
        create_service(hosts.database, "127.0.0.1", service.port, print)
    for port in ("0", "x", "9" * 5000):
        refused = hosts.refused(f"start service kickstart port={port}")
        assert "must be an integer from 1 to 65535" in refused
    assert "cannot listen on nowhere.invalid" in hosts.refused(
        "start service kickstart address=nowhere.invalid"
    )
    hosts.patch.setattr(message_broker, "AUTHORITY_FOLDER", str(tmp_path / "none"))
    with pytest.raises(
        StateError, match="head has no certificate: run `rocks add host certificate head` first"
    ):
        create_service(hosts.database, "127.0.0.1", 0, print)


@pytest.mark.slow
def test_a_renewed_certificate_is_used_without_a_new_start(hosts: Site, service: Service) -> None:
    def offered() -> str:
        return ssl.get_server_certificate(("127.0.0.1", service.port), timeout=120)

    old = offered()
    hosts.done("add host certificate head replace=yes")
    wait_until(lambda: offered() != old)
    assert offered() in message_broker.node_authority().bundle("head").pair.decode()
    assert "the certificate was renewed" in service.log


@pytest.mark.slow
def test_the_service_is_a_process_that_ends_when_it_is_asked_to(
    hosts: Site, pki: Path, cluster_environment: dict[str, str]
) -> None:
    """Started as an operator starts it, by the launcher; the authority is that of this test."""
    port = free_port()
    where = ("address=127.0.0.1", f"port={port}")
    process = start_service("kickstart", pki, cluster_environment, subprocess.PIPE, *where)
    try:
        assert process.stderr.readline() == b"listening on port %d\n" % port
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", port), 30) as plain,
            context.wrap_socket(plain, server_hostname="head") as secured,  # by the frontend's name
        ):
            assert secured.version() in ("TLSv1.2", "TLSv1.3")
        context.check_hostname = False
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=120, source_address=(HOST_ADDRESS, 0), context=context
        )
        connection.request("GET", "/install/kickstart", headers=STATED)
        found = Response(connection.getresponse())
        connection.close()
        assert found.status == 200 and "%packages" in found.text
        assert process.stderr.readline().decode() == f"{HOST_ADDRESS} 200 /install/kickstart\n"
        process.terminate()
        assert process.wait(120) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_the_frontends_certificate_is_for_its_address_on_the_network_private(hosts: Site) -> None:
    log: list[str] = []
    authority = message_broker.node_authority()
    with pytest.raises(HostError, match="cannot listen on 10.1.0.1"):  # no device of this machine has it
        create_service(hosts.database, "", 0, log.append)
    assert log == [] and has_address(authority.bundle("head").pair, "10.1.0.1")
    authority.issue(CertificateSpec("head", ["head"], ["203.0.113.2"], 30))
    with pytest.raises(HostError):
        create_service(hosts.database, "", 0, log.append)
    assert "is not for the address 10.1.0.1" in log[0]
    assert "rocks add host certificate head replace=yes" in log[0]
