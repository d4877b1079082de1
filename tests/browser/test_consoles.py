"""Pages of consoles in a real Chromium: their bytes arrive, under the policy of the page."""

import socket
import subprocess  # noqa: TID251 - QEMU runs while the test looks at it
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lab.guest import image
from lab.namespace import CHECKOUT
from nucleus.backends.executor import Stream
from tests.browser.conftest import Visit, token_of
from tests.browser.test_pages import keep_picture, violations, wait_until
from tests.system.comet.conftest import HOSTS, Site

pytestmark = [pytest.mark.browser]

LIT = """() => { const canvas = document.querySelector('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 0 && value > 100).length; }"""
"""How many pixels of the screen are not dark."""


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Path]:
    """The VNC socket of a guest of the lab that boots under QEMU."""
    disk, place = tmp_path / "disk.img", tmp_path / "vnc"
    base = image.ensure_base_image(CHECKOUT / ".state/guest/kernel", CHECKOUT / ".state/guest/images")
    image.make_disk(base, disk, "vc1", 1000**3)
    options = ("-accel", "tcg", "-m", "512", "-drive", f"file={disk},format=raw", "-vnc", f"unix:{place}")
    with subprocess.Popen(["qemu-system-x86_64", *options]) as guest:
        yield place
        guest.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_serial_console_names_its_node_and_connects_again_after_a_break(
    site: Site, visit: Callable[..., Visit], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    streams: list[Stream] = []

    def open_and_keep(arguments: Sequence[str]) -> Stream:
        stream = open_stream(arguments)
        if arguments[0] == "open":  # a console, and no picture of a screen
            streams.append(stream)
        return stream

    open_stream = site.simulator.open
    monkeypatch.setattr(site.simulator, "open", open_and_keep)
    site.simulator.guests["vm-vc1-0"].host, site.simulator.guests["vm-vc1-0"].state = HOSTS[0], "active"
    owner = visit(scheme=scheme).open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    with owner.page.context.expect_page() as opened:
        owner.page.get_by_role("button", name="Serial of vm-vc1-0", exact=True).click()
    console = Visit(opened.value, site.service.url)
    console.sees(".xterm-rows", "vm-vc1-0 login:")
    console.page.keyboard.type("before")
    console.sees(".xterm-rows", "before")
    streams[0].connection.shutdown(socket.SHUT_RDWR)
    console.sees("#status", "connecting again")
    console.sees("#status", "connected")
    console.page.keyboard.type("after")
    console.sees(".xterm-rows", "after")
    assert console.page.title() == console.page.text_content("h1") == "Serial console of vm-vc1-0, vc1"
    site.simulator.guests["vm-vc1-0"].state = "nostate"
    owner.sees("tr[data-key=vm-vc1-0] .power", "off")
    asked: list[str] = []
    console.page.on("request", lambda request: asked.append(request.method))
    streams[-1].connection.shutdown(socket.SHUT_RDWR)
    console.sees("#status", "The power of vm-vc1-0 is off. The console opens when it is on.")
    wait_until(console, lambda: len(asked) >= 3)
    assert set(asked) == {"GET"}
    assert site.rows("SELECT DISTINCT outcome FROM audit WHERE action = 'console'") == [("accepted",)]
    site.simulator.guests["vm-vc1-0"].state = "active"
    console.sees("#status", "connected")
    console.page.get_by_role("button", name="Full screen").click()
    console.page.get_by_role("button", name="Leave full screen").wait_for()
    assert violations(console) == [] and console.harms() == []
    assert owner.harms() == []


def test_the_screen_of_a_node_opens_under_a_policy_without_inline_styles(
    site: Site, visit: Callable[..., Visit], monkeypatch: pytest.MonkeyPatch, screen: Path
) -> None:
    def open_screen(arguments: Sequence[str]) -> Stream:
        if arguments[0] != "open":
            return open_stream(arguments)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(screen))
        return Stream(connection, lambda: "")

    open_stream = site.simulator.open
    monkeypatch.setattr(site.simulator, "open", open_screen)
    site.simulator.guests["vc1"].state = "active"
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    with owner.page.context.expect_page() as opened:
        owner.page.get_by_role("button", name="Screen of vc1", exact=True).click()
    console = Visit(opened.value, site.service.url)
    console.sees("#status", "connected")
    console.sees("h1", "Screen of vc1")
    wait_until(console, lambda: int(console.page.evaluate(LIT)) > 4000)
    console.page.set_viewport_size({"width": 900, "height": 600})
    keep_picture(console, "console")
    assert violations(console) == [] and console.harms() == []
