import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backuppeer.control.api import LsRequest
from backuppeer.control.codec import decode_json, encode_json

any_text = st.text() | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape"))


@given(any_text)
def test_any_path_comes_back_as_it_was_on_one_line(path):
    line = encode_json(LsRequest(snapshot="latest", path=path))
    assert b"\n" not in line
    assert decode_json(line, LsRequest).path == path
    assert json.loads(line).get("path", "") == path


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_raise_value_error_and_nothing_else(data):
    try:
        decode_json(data, LsRequest)
    except ValueError:
        return


def test_half_a_character_that_stands_for_no_byte_of_a_name_is_refused():
    for half in ("\ud800", "\udc00", "\udfff", "a\udbff"):
        with pytest.raises(ValueError, match="half a character"):
            decode_json(json.dumps({"snapshot": "latest", "path": half}).encode(), LsRequest)


def test_nesting_without_end_is_refused():
    with pytest.raises(ValueError, match="nested"):
        decode_json(b"[" * 200_000 + b'"\\udc00"', list)
