"""Tables and data formats; names that would act on a terminal."""

import csv
import io
import json

import yaml

from comet.cli.output import as_csv, as_yaml, columns, printed, safe, shortened, table

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202eexe\r\n\x7f"


def test_a_table_has_borders_and_empty_cells_for_nothing() -> None:
    rows = [{"name": "n0", "mac": ["a", "b"], "on": True}, {"name": None, "mac": [], "on": False}]
    assert table(rows, columns("name", "mac", "on", on="On")).split("\n") == [
        "+------+-----+-----+",
        "| name | mac | On  |",
        "+------+-----+-----+",
        "| n0   | a   | yes |",
        "|      | b   |     |",
        "|      |     | no  |",
        "+------+-----+-----+",
    ]


def test_a_table_without_rows_has_its_heading() -> None:
    assert table([], columns("name")) == "+------+\n| name |\n+------+"


def test_cells_are_wrapped_at_40_columns_of_a_terminal() -> None:
    for wide in ("\u754c", "\uff21"):  # wide, and a letter of full width
        text = table([{"it": "word " * 12 + wide * 30}], columns("it"))
        inner = [line[2:-2] for line in text.split("\n") if line.startswith("|")]
        assert "".join("".join(line.split()) for line in inner[1:]) == "word" * 12 + wide * 30
        assert max(len(line) + line.count(wide) for line in inner) == 40


def test_nothing_acts_on_a_terminal() -> None:
    rows = [{"name": HOSTILE}]
    for form in ("table", "json", "yaml", "csv"):
        text = printed(rows, columns("name"), form)
        assert all(it.isprintable() for line in text.split("\n") for it in line.rstrip("\r")), form
    assert safe(HOSTILE).startswith("\\x1b]0;owned\\x07")


def test_a_word_that_is_very_long_is_cut_unless_it_is_an_address_or_a_path() -> None:
    place, name = "https://n.example.org/" + "x" * 300, "n" * 300
    assert shortened(f"see {place} of {name} there") == f"see {place} of {'n' * 200}… there"


def test_json_and_yaml_say_the_same() -> None:
    odd = {
        "name": HOSTILE,
        "no": None,
        "yes": True,
        "list": ["a", {"b": [1, 2]}],
        "empty": [],
        "text": "no: #x",
    }
    value = [{**odd, "n": 1.5, "nan": "inf", "y": "Null"}, {"on": "off", "nested": {"a": {"b": "c"}}}]
    assert yaml.safe_load(as_yaml(value)) == value
    assert yaml.safe_load(as_yaml([])) == []
    assert json.loads(printed([{"a": 1}], columns("a"), "json", legacy=True)) == {"0": {"a": 1}}


def test_csv_quotes_what_needs_it() -> None:
    text = as_csv([{"a": 'one,"two"', "b": ["x", "y"]}], ["a", "b"])
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ['one,"two"', "x;y"]]
