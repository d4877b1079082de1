"""Names of network devices: free ones, and the same again for the same site."""

from pathlib import Path

import pytest

from lab import links
from lab.links import Link
from rocks.core.errors import StateError

STEMS = ("rockspriv", "rockspub")


def test_links_are_read_with_their_aliases() -> None:
    text = '[{"ifname": "lo"}, {"ifname": "rockspriv0", "ifalias": "rocks lab 12"}]'
    assert links.parse_links(text) == [Link("lo", ""), Link("rockspriv0", "rocks lab 12")]


def test_the_first_number_that_is_free_for_all_stems_is_taken() -> None:
    assert links.choose_names([Link("lo", "")], STEMS, "m") == ["rockspriv0", "rockspub0"]
    assert links.choose_names([Link("rockspub0", "other")], STEMS, "m") == ["rockspriv1", "rockspub1"]


def test_a_number_is_not_free_while_a_vlan_of_another_site_has_it() -> None:
    assert links.choose_names([Link("rockspriv0.2", "")], STEMS, "m") == ["rockspriv1", "rockspub1"]


def test_a_site_gets_its_own_devices_again_even_half_of_them_with_vlans_on_them() -> None:
    there = [Link("rockspriv0", "other"), Link("rockspriv1", "m"), Link("rockspriv1.2", "")]
    assert links.choose_names(there, STEMS, "m") == ["rockspriv1", "rockspub1"]


def test_when_all_numbers_are_taken_the_error_says_where_to_look() -> None:
    with pytest.raises(StateError, match="ip link"):
        links.choose_names([Link(f"rockspub{number}", "") for number in range(10)], STEMS, "m")


def test_names_leave_space_for_a_vlan() -> None:
    names = links.choose_names([], STEMS, "m")
    assert all(len(f"{name}.4095") <= 15 for name in names)


def test_markers_distinguish_folders_and_fit_into_an_alias() -> None:
    markers = {links.alias_of(Path(f"/{'x' * 3000}/{end}")) for end in "ab"}
    assert len(markers) == 2 and all(len(mark) < 256 for mark in markers)
