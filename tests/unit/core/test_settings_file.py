"""Settings: lines `key = value`, and errors that name the line."""

import pytest

from rocks.core.settings_file import read_settings_text

KEYS = ("socket", "host", "password")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("# a comment\n\n  host=a\n\tsocket =  /x y  \n", {"host": "a", "socket": "/x y"}),
        (
            "password = 100% #1; [=] \\n 'quoted' %(host)s é",
            {"password": "100% #1; [=] \\n 'quoted' %(host)s é"},
        ),
        ("host =\nhost = a\nhost = b", {"host": "b"}),
        ("host =", {"host": ""}),
        ("host = a\r\nsocket = b\r\n", {"host": "a", "socket": "b"}),
    ],
)
def test_lines_of_keys_and_values(text: str, values: dict[str, str]) -> None:
    """No quoting, no references, no comments behind a value; the last line of a key counts."""
    assert read_settings_text(text, KEYS, "f") == values


@pytest.mark.parametrize(
    "line",
    [
        "port = 1",
        "Host = a",
        "host",
        "= a",
        "host: a",
        "; host = a",
        "[host]",
        "[host] = a",
        "DEFAULT = a",
        "!",
    ],
)
def test_a_wrong_line_is_named_with_its_number(line: str) -> None:
    """Also where it is indented, which would continue a value elsewhere."""
    for text, number in ((line, 1), (f"# c\n\nhost = a\n   {line}  \nsocket = b", 4)):
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            read_settings_text(text, KEYS, "/etc/x.conf")
        assert str(raised.value) == (
            f"/etc/x.conf line {number}: {line!r} is not one of socket, host, password = value"
        )
