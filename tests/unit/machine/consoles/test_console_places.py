"""How a viewer on another machine gets to a screen."""

from __future__ import annotations

from rocks.machine.consoles.consoles import _describe_place


def test_a_screen_on_a_socket_opens_no_port_anywhere() -> None:
    place = _describe_place("web", "/run/rocks/vnc.sock")
    assert "ssh -N -L ~/web.sock:/run/rocks/vnc.sock root@" in place
    assert place.endswith("and there: xtigervncviewer ~/web.sock")
    assert "5900" not in place and "localhost" not in place


def test_a_port_is_named_only_where_the_screen_has_one_and_with_a_warning() -> None:
    place = _describe_place("web", "127.0.0.1::5907")
    assert place.startswith("127.0.0.1, port 5907, for every user of this machine; ")
    assert "-L 5900:127.0.0.1:5907 root@" in place and place.endswith("which every user there reaches")
