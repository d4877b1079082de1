"""An image that came in parts is read again for its checksum: once, and one of a user at a time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore

import pytest

from nucleus.api.access.throttles import Rate
from owners.images.upload_bytes import Receiver
from tests.patience import patience
from tests.system.nucleus.api.conftest import ISO, MODERN
from tests.system.nucleus.api.http_client import Client


def sent_but_the_end(service: Client, who: str, name: str) -> str:
    """An upload of which only the last byte is missing; where it goes on."""
    begun = service.ask(who, "POST", "/v1/image/upload", json={"name": name, "size": len(ISO)})
    place = begun.headers["Location"].removeprefix("http://site.example")
    assert service.ask(who, "PATCH", place, body=ISO[:-1], headers={"Upload-Offset": "0"}).status_code == 204
    return str(place)


def end_of(service: Client, who: str, place: str, sent: int = len(ISO) - 1) -> int:
    headers = {"Upload-Offset": str(sent), **MODERN}
    return service.ask(who, "PATCH", place, body=ISO[sent:], headers=headers).status_code


def test_an_image_is_read_again_once_however_often_its_last_request_is_refused(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    read_again = Receiver._read_again

    def counted(receiver: Receiver) -> tuple[str, str]:
        read.append(receiver.path)
        return read_again(receiver)

    monkeypatch.setattr(Receiver, "_read_again", counted)
    place = sent_but_the_end(service, "ann", "a.iso")
    service.application.state.service.change_rate = Rate("changes", 1 / 3600, 0)
    assert [end_of(service, "ann", place, sent) for sent in (len(ISO) - 1, len(ISO), len(ISO))] == [429] * 3
    service.forget_rates()
    assert end_of(service, "ann", place, len(ISO)) == 202
    assert len(read) == 1


def test_of_a_user_one_image_at_a_time_is_read_again(
    service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a processor. The next one waits for its turn, and is not refused."""
    begun, may_go_on = Semaphore(0), Event()
    read_again = Receiver._read_again

    def slow(receiver: Receiver) -> tuple[str, str]:
        begun.release()
        assert may_go_on.wait(patience(60))
        return read_again(receiver)

    monkeypatch.setattr(Receiver, "_read_again", slow)
    places = [("ann", "a.iso"), ("ann", "b.iso"), ("bob", "c.iso")]
    ends = [(who, sent_but_the_end(service, who, name)) for who, name in places]
    with ThreadPoolExecutor(3) as threads:
        try:
            answers = [threads.submit(end_of, service, *one) for one in ends[:2]]
            assert begun.acquire(timeout=patience(60)) and not begun.acquire(timeout=1)
            answers.append(threads.submit(end_of, service, *ends[2]))
            assert begun.acquire(timeout=patience(60)), "of another user"
            assert service.get("ann", "/v1/user").status_code == 200
        finally:
            may_go_on.set()
        assert [one.result() for one in answers] == [202] * 3
