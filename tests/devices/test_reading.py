"""One reader for YAML and one for JSON: odd text ends at once in a sentence, plain text reads as it always did."""

import contextlib
import json
import os
import time

import pytest
import yaml

from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.reading import load_json, parse_json, read_bytes, shown
from bruno_spice.devices.reading_yaml import MOST_YAML_BYTES, load_yaml, parse_yaml

ODD_YAML = {
    "deep flow": ("[" * 100_000, "nested more than"),
    "deep block": ("- " * 90_000, "nested more than"),
    "deep keys": ("? " * 90_000, "nested more than"),
    "date tag": ("network: {neuron: !!timestamp x}", "tag"),
    "python tag": ("a: !!python/object/apply:os.system [ls]", "tag"),
    "number tag": ("a: !!int x", "tag"),
    "many digits": (f"a: {'9' * 5000}", "too large"),
    "64 bits": ("a: 9223372036854775808", "too large"),
    "alias": ("a: &x [1]\nb: [*x, *x]", "anchors and aliases"),
    "same key": ("a: 1\nb: 2\na: 3", "line 3.*comes twice"),
    "number as key": ("1: 2", "must be text"),
    "list as key": ("? [a]\n: b", "must be text"),
    "escape code": ('a: "\\e]0;title\\a"', "control character"),
    "half a character": ('a: "\\ud800"', "control character"),
    "unfinished": ("a: [1", "line 1"),
    "two documents": ("a: 1\n---\nb: 2", "line 2"),
}
ODD_JSON = {
    "deep list": ("[" * 100_000, "nested more than"),
    "deep object": ('{"a":' * 100_000, "nested more than"),
    "closed, but deep": ("[" * 60 + "]" * 60, "nested more than"),
    "many digits": ("9" * 5000, "too large"),
    "same key": ('{"a": 1, "a": 2}', "comes twice"),
    "escape code": ('{"a": "\\u001b[31m"}', "control character"),
    "half a character": ('["\\ud800"]', "control character"),
    "unfinished": ('{"a": ', "not valid JSON"),
}


@pytest.mark.parametrize(("text", "said"), ODD_YAML.values(), ids=ODD_YAML)
def test_odd_yaml_ends_in_one_sentence_at_once(text, said):
    began = time.monotonic()
    with pytest.raises(InputError, match=f"^here: .*{said}") as refused:
        parse_yaml(text, "here")
    assert time.monotonic() - began < 5
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("text", "said"), ODD_JSON.values(), ids=ODD_JSON)
def test_odd_json_ends_in_one_sentence_at_once(text, said):
    with pytest.raises(CardError, match=f"^here: .*{said}") as refused:
        parse_json(text, "here", CardError)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "text", ["x" * 190_000, "[" + ", " * 90_000 + "]", "9" * 190_000, "'" * 190_000, "1:" * 90_000]
)
def test_a_long_row_of_anything_takes_no_time(text):
    began = time.monotonic()
    with contextlib.suppress(InputError):
        parse_yaml(text, "here")
    assert time.monotonic() - began < 5


def test_plain_yaml_reads_as_pyyaml_reads_it():
    values = {
        "whole": [0, -3, 2**63 - 1], "decimal": [1.5, -0.25, 1e-30, 3e200, float("inf")],
        "truth": [True, False, None],
        "text": ["10n", "yes", "1e-3", "0x10", "010", "1:20", "2001-02-03",
        "~", "", "=", "a: b", "# c", "µ", "two\nlines"],
        "deep": {"a": {"b": [{"c": 1}]}},
    }  # fmt: skip
    assert parse_yaml(yaml.safe_dump(values), "here") == values
    assert parse_json(json.dumps(values), "here") == values
    dates = parse_yaml("when: 2001-02-03\nat: 1:20\ncode: 010", "here")
    assert dates == {"when": "2001-02-03", "at": "1:20", "code": "010"}


def test_what_is_no_text_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "utf16").write_bytes("a: 1".encode("utf-16"))
    (tmp_path / "large").write_bytes(b"a" * (MOST_YAML_BYTES + 1))
    for name, said in (("pipe", "pipe"), ("utf16", "UTF-8"), ("large", "larger"), ("none", "no such"), (".", "folder")):
        with pytest.raises(InputError, match=said):
            load_yaml(tmp_path / name)
    with pytest.raises(CardError, match="no such card"):
        load_json(tmp_path / "none", "no such card", CardError)
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes("a\0b", 10)


def test_what_an_error_quotes_cannot_steer_the_terminal():
    assert shown("\x1b[31mred\u202e") == r"'\x1b[31mred\u202e'"
    assert len(shown("x" * 10_000)) < 70
