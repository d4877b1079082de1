"""The connection to the broker, whose library is made up here: `tests/system/imgstorage/test_bus.py` has a real one."""

from contextlib import nullcontext
from unittest.mock import MagicMock

import amqp
import pytest

from rocks.storage.bus import link as secure
from rocks.storage.bus.link import BrokerAwayError, BusSettings, Link, RefusedError


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        (
            amqp.exceptions.AccessRefused("no right"),
            RefusedError,
            "the broker rejects the request: .*no right",
        ),
        (OSError("reset by peer"), BrokerAwayError, "reset by peer"),
    ],
)
def test_a_connection_on_which_a_request_failed_is_not_used_again(
    fault: Exception, error: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has closed the channel, or the connection: the next request needs another one."""
    connection = MagicMock(connected=True)
    connection.transport.having_timeout.return_value = nullcontext()
    connection.channel.return_value.basic_ack.side_effect = fault
    monkeypatch.setattr(secure, "connect", lambda _: connection)
    link = Link(BusSettings("vmc-0-0", "127.0.0.1"))
    link.open()
    with pytest.raises(error, match=text):
        link.acknowledge(1)
    connection.close.assert_called_once_with()
