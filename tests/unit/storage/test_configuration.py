"""The configuration that a daemon reads from the frontend's file, and the errors."""

import json
from pathlib import Path
from typing import Any

import pytest

from rocks.core.errors import StateError
from rocks.storage.configuration import Configuration, read_configuration
from rocks.storage.daemon import read_settings
from rocks.storage.limits import DEFAULT_TRANSFERS, MAX_TRANSFERS
from rocks.storage.volumes.settings import RequestedSettings, configuration_text, daemon_settings
from tests.unit.machines import container


def read(folder: Path, **values: Any) -> Configuration:
    """The configuration in a file with these values besides the required ones."""
    file = folder / "imgstorage.conf"
    file.write_text(json.dumps([{"name": "nas-0-0", "frontend_name": "head", **values}]), encoding="utf-8")
    return read_configuration(file)


def written(folder: Path, **attributes: str) -> Configuration:
    """The configuration of a host with these attributes, in the file that the frontend writes."""
    file = folder / "imgstorage.conf"
    settings = daemon_settings(container("vmc-0-0", **attributes), "head", "local", RequestedSettings())
    file.write_text(configuration_text(settings), encoding="utf-8")
    return read_configuration(file)


def test_missing_values_have_their_defaults(tmp_path: Path) -> None:
    assert read(tmp_path) == Configuration("nas-0-0", "head", "local", "tank", DEFAULT_TRANSFERS, "head")
    assert read(tmp_path, img_sync_workers="") == read(tmp_path)


def test_the_daemon_accepts_all_numbers_of_transfers_that_the_frontend_accepts(tmp_path: Path) -> None:
    for number in (1, MAX_TRANSFERS):
        assert written(tmp_path, **{"imgstorage-workers": str(number)}).transfers == number
    assert written(tmp_path, **{"imgstorage-workers": ""}).transfers == DEFAULT_TRANSFERS


def test_daemons_connect_to_the_broker_that_the_attribute_names(tmp_path: Path) -> None:
    """By that name, which its certificate contains; still only the frontend may send requests."""
    for attributes, broker in (({}, "head"), ({"RABBITMQ_Server": "mq.example.org"}, "mq.example.org")):
        configuration = written(tmp_path, **attributes)
        assert (configuration.frontend_name, configuration.broker_name) == ("head", broker)
        bus = read_settings(tmp_path / "imgstorage.conf").bus
        assert (bus.node, bus.address, bus.server_name) == ("vmc-0-0", broker, None)


@pytest.mark.parametrize("workers", ["0", str(MAX_TRANSFERS + 1), "-1", "many", "8 ", "²", 8])
def test_invalid_numbers_of_transfers(tmp_path: Path, workers: object) -> None:
    with pytest.raises(StateError, match=f"a whole number from 1 to {MAX_TRANSFERS} is needed"):
        read(tmp_path, img_sync_workers=workers)
