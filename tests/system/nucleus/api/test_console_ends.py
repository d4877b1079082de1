"""The end of a console: its owner may not have it any more, or does not read it."""

from contextlib import ExitStack
from socket import socketpair

import pytest
from websockets.exceptions import ConnectionClosed

from nucleus.backends.executor import Stream
from nucleus.mirror import identity
from nucleus.mirror.pool import Pool
from tests.system.nucleus.api.http_client import Client
from tests.system.nucleus.api.test_consoles import FRONTEND, SECONDS, connect, consoles, site, ticket_for
from tests.waiting import wait_until

__all__ = ["consoles", "site"]


@pytest.mark.slow
def test_a_console_ends_with_the_token_that_opened_it(consoles: Client, pool: Pool) -> None:
    with connect(consoles, ticket_for(consoles, FRONTEND, "serial")) as console:
        assert console.recv(SECONDS) == b"vc2 login: "
        with pool.transaction() as session:
            assert identity.revoke_token(session, consoles.tokens["ann"].split("_")[1], None)
        with pytest.raises(ConnectionClosed):
            console.recv(SECONDS)
        assert console.close_code == 4001


def test_who_reads_nothing_holds_no_console_for_ever(
    consoles: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end waits until it can be written."""
    monkeypatch.setattr("owners.consoles.rest.CHECK_SECONDS", 0.2)
    monkeypatch.setattr("owners.consoles.rest._CLOSE_SECONDS", 0.5)
    service = consoles.application.state.service
    ticket = ticket_for(consoles, FRONTEND, "serial")
    with ExitStack() as opened:
        near, far = map(opened.enter_context, socketpair())
        near.setblocking(False)
        service.rocks.open_console = lambda *_: Stream(near, lambda: "")
        silent = opened.enter_context(
            consoles.connected(
                f"GET /ws/console/{ticket} HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode()
            )
        )
        assert b" 101 " in silent.recv(64)
        far.settimeout(2.0)
        with pytest.raises(TimeoutError):
            while True:
                far.sendall(bytes(1 << 16))
        assert service.consoles.count == 1
        with pool.transaction() as session:
            assert identity.revoke_token(session, consoles.tokens["ann"].split("_")[1], None)
        wait_until(lambda: service.consoles.count == 0)
