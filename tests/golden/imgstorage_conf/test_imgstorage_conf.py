"""The files of `cases.py`: equal to the golden files, and valid for XML and JSON parsers."""

import json
from pathlib import Path

import pytest
from lxml import etree

from rocks.storage.volumes.settings import configuration_lines
from tests.golden.files import check_golden
from tests.golden.imgstorage_conf.cases import CASES

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", CASES)
def test_the_file_equals_the_golden_file(name: str) -> None:
    check_golden(FOLDER / f"{name}.txt", "\n".join(configuration_lines(CASES[name])) + "\n")


@pytest.mark.parametrize("name", CASES)
def test_the_block_reads_the_same_as_xml_and_as_plain_text(name: str) -> None:
    settings = CASES[name]
    opening, text, closing = configuration_lines(settings)
    block = etree.fromstring(f"{opening}\n{text}\n{closing}")
    assert (block.tag, dict(block.attrib)) == ("file", {"name": "/etc/imgstorage.conf"})
    (values,) = json.loads(text)
    assert json.loads(block.text or "") == [values]
    assert values.pop("secur_server", None) is (True if settings.is_frontend else None)
    assert values.pop("broker_name", settings.frontend) == settings.broker
    assert values == {
        "name": settings.name,
        "frontend_name": settings.frontend,
        "network": settings.network,
        "default_pool": settings.pool,
        "img_sync_workers": str(settings.workers),
    }


def test_every_golden_file_has_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)
