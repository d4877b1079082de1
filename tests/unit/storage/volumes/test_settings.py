"""Settings of a host's image storage daemons, from parameters, attributes and defaults."""

import pytest

from rocks.core.errors import StateError, UserError
from rocks.storage.limits import MAX_TRANSFERS
from rocks.storage.volumes.settings import (
    DaemonSettings,
    RequestedSettings,
    check_requested_settings,
    daemon_settings,
)
from tests.unit.machines import container


def settings(
    requested: RequestedSettings | None = None, zone: str = "local", **attributes: str
) -> DaemonSettings:
    return daemon_settings(container(**attributes), "head", zone, requested or RequestedSettings())


def test_defaults() -> None:
    assert settings() == DaemonSettings("vmc-0-0", "head", "local", "tank", 8, "head")


def test_attributes_override_defaults_and_parameters_override_attributes() -> None:
    attributes = {"imgstorage-network": "storage", "vm_container_zpool": "slow", "imgstorage-workers": "2"}
    assert settings(**attributes) == DaemonSettings("vmc-0-0", "head", "storage", "slow", 2, "head")
    assert settings(**attributes, **{"imgstorage-pool": "fast"}).pool == "fast"
    requested = RequestedSettings("example.org", "mine", "7")
    assert settings(requested, **attributes) == DaemonSettings(
        "vmc-0-0", "head", "example.org", "mine", 7, "head"
    )


def test_an_attribute_without_a_text_counts_as_none() -> None:
    empty = {
        "imgstorage-network": "",
        "imgstorage-pool": "",
        "vm_container_zpool": "",
        "imgstorage-workers": "",
    }
    assert settings(**empty) == settings()


def test_the_frontend_is_the_one_of_the_attributes_and_known_in_any_case() -> None:
    assert settings(Kickstart_PrivateHostname="other").frontend == "other"
    assert daemon_settings(container("Head"), "head", "local", RequestedSettings()).is_frontend
    assert not settings().is_frontend
    with pytest.raises(StateError, match="host vmc-0-0 has no frontend"):
        daemon_settings(container(), "", "local", RequestedSettings())


def test_the_broker_is_on_the_frontend_unless_the_attribute_says_another() -> None:
    assert settings(RABBITMQ_Server="mq.example.org").broker == "mq.example.org"
    assert settings(RABBITMQ_Server="10.1.1.9").broker == "10.1.1.9"
    for same in ("", "head", "HEAD"):
        assert settings(RABBITMQ_Server=same).broker == "head"
    assert settings(Kickstart_PrivateHostname="other").broker == "other"


def test_no_zone_at_all() -> None:
    with pytest.raises(StateError, match="host vmc-0-0 has no network for images"):
        settings(zone="")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("imgstorage-network", "a b", "dnszone"),
        ("imgstorage-pool", "a/b", "zpool"),
        ("vm_container_zpool", "9", "zpool"),
        ("imgstorage-workers", "0", "workers"),
        ("imgstorage-workers", str(MAX_TRANSFERS + 1), "workers"),
        ("imgstorage-workers", "many", "workers"),
        ("RABBITMQ_Server", "a b", "RABBITMQ_Server"),
    ],
)
def test_a_fault_of_an_attribute_names_the_host(name: str, value: str, message: str) -> None:
    with pytest.raises(StateError, match=f"the attributes of host vmc-0-0 are not valid: {message}"):
        settings(**{name: value})


@pytest.mark.parametrize(
    "requested",
    [RequestedSettings(network="a b"), RequestedSettings(pool="a/b"), RequestedSettings(workers="-1")],
)
def test_invalid_parameters(requested: RequestedSettings) -> None:
    with pytest.raises(UserError, match="is not valid|must be an integer"):
        check_requested_settings(requested)
    check_requested_settings(RequestedSettings())
