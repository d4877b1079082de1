"""The generated rights of the broker's users, matched as RabbitMQ matches them."""

import json
import re

from rocks.storage.broker.definitions import (
    BrokerNode,
    BrokerPlace,
    advanced_config,
    definitions,
    rabbitmq_conf,
)
from rocks.storage.wire import names as queues

TOKEN = "0123456789abcdef" * 2
NODES = (
    BrokerNode("head", frozenset({queues.FRONTEND, queues.HOST})),
    BrokerNode("nas-0-0", frozenset({queues.NAS})),
    BrokerNode("vmc.0", frozenset({queues.HOST})),
    BrokerNode("idle", frozenset()),
)
DOCUMENT = json.loads(definitions(NODES))


def may(node: str, right: str, queue: str, table: str = "permissions") -> bool:
    """Whether a user has a right to a queue (or, of the topic permissions, to its routing key)."""
    (row,) = (row for row in DOCUMENT[table] if row["user"] == node)
    return re.search(row[right], queue) is not None


def test_a_node_configures_and_reads_its_own_queues_only() -> None:
    own = {
        "head": [queues.host_queue("head"), queues.reply_queue("head", TOKEN)],
        "nas-0-0": [queues.nas_queue("nas-0-0")],
        "vmc.0": [queues.host_queue("vmc.0")],
        "idle": [],
    }
    others = [queues.DEAD_QUEUE, queues.nas_queue("nas-0-00"), queues.host_queue("vmc-0"), "amq.gen-x"]
    every = [name for names in own.values() for name in names] + others
    for node, names in own.items():
        for right in ("configure", "read"):
            assert [name for name in every if may(node, right, name)] == names, (node, right)


def test_a_node_writes_to_the_queues_of_its_roles() -> None:
    expected = {
        "head": {queues.nas_queue("x"), queues.host_queue("x"), queues.reply_queue("x", TOKEN)},
        "nas-0-0": {queues.host_queue("x"), queues.reply_queue("x", TOKEN)},
        "vmc.0": {queues.nas_queue("x"), queues.reply_queue("x", TOKEN)},
        "idle": set[str](),
    }
    every = {queues.nas_queue("x"), queues.host_queue("x"), queues.reply_queue("x", TOKEN), queues.DEAD_QUEUE}
    for node, names in expected.items():
        assert {name for name in every if may(node, "write", name, "topic_permissions")} == names, node


def test_every_user_has_a_tag_and_limits() -> None:
    assert [user["name"] for user in DOCUMENT["users"]] == ["head", "idle", "nas-0-0", "vmc.0"]
    assert all(user["password_hash"] == "" and user["limits"] for user in DOCUMENT["users"])


def test_the_configuration_accepts_no_client_without_a_certificate() -> None:
    assert "listeners.tcp = none\n" in rabbitmq_conf(BrokerPlace(("10.1.1.1",)))
    assert "auth_mechanisms.1 = EXTERNAL\n" in rabbitmq_conf(BrokerPlace(("10.1.1.1",)))
    text = advanced_config(BrokerPlace(("10.1.1.1", "::1"), 5671, '/a "b"'))
    assert '{ssl_listeners, [{"10.1.1.1", 5671}, {"::1", 5671}]}' in text
    assert '{cacertfile, "/a \\"b\\"/ca.crt"}' in text
    assert "{fail_if_no_peer_cert, true}" in text and "{crl_check, true}" in text


def test_nothing_that_others_send_grows_without_an_end() -> None:
    """Each queue has a count and a size, and so has the log."""
    policies = DOCUMENT["policies"]
    assert len(policies) == 3
    assert all({"max-length", "max-length-bytes"} < policy["definition"].keys() for policy in policies)
    text = rabbitmq_conf(BrokerPlace(("10.1.1.1",)))
    assert "log.file.rotation.size = 16777216\nlog.file.rotation.count = 4\n" in text


def test_the_owner_of_a_queue() -> None:
    assert queues.is_own_queue(queues.nas_queue("a"), "a") and queues.is_own_queue(
        queues.host_queue("a"), "a"
    )
    assert queues.is_own_queue(queues.reply_queue("a", TOKEN), "a")
    assert not queues.is_own_queue(queues.reply_queue("a.b", TOKEN), "a")
    assert not queues.is_own_queue(queues.reply_queue("a", TOKEN + "0"), "a")
    assert not queues.is_own_queue(queues.nas_queue("a"), "b")
    assert [queues.queue_node(name) for name in (queues.nas_queue("a"), queues.host_queue("b.c"), "x")] == [
        "a",
        "b.c",
        None,
    ]
