"""Which of several types an answer gets, and what headers that are no good come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.api.negotiation import LONGEST, accepted_encodings, answer_type, body_type, prefers
from app.errors import NotAcceptable, UnknownMediaType
from app.wire.media_types import ARROW, CSV, HTML, JSON

OFFERED = (JSON, CSV, ARROW)


def _asking(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv, application/json", JSON),
        ("text/csv;q=0.5, application/json;q=0.5", JSON),
        ("application/vnd.apache.arrow.stream, text/csv", CSV),
        ("application/json;q=0.999, text/csv", CSV),
        ("text/csv;q=0.001", CSV),
        ("text/*", CSV),
        ("text/*;q=0.9, application/*;q=0.8", CSV),
        ("application/json;q=0, */*", CSV),
        ("application/*;q=0, */*;q=0.1", CSV),
        ("*/*, text/csv;q=0.9", JSON),
        ("*/*;q=0.9, text/csv", CSV),
        ("text/*;q=0.1, text/csv, application/*;q=0.5", CSV),
        ("text/*, text/csv;q=0.1, application/*;q=0.5", JSON),
        ("TEXT/CSV;q=0.3, APPLICATION/JSON;Q=0.2", CSV),
        (" text/csv ; charset=utf-8 ; q = 0.9 ,application/json;q=0.8", CSV),
        (",, text/csv,, ,", CSV),
        ("text/html, text/csv;q=0.1", CSV),
    ],
)
def test_the_answer_gets_what_is_accepted_most(accept: str, expected: str) -> None:
    """By the q of the most specific range; of equal ones the first offered; any type for who names none."""
    assert answer_type(_asking(accept=accept), OFFERED) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json;q=, text/csv;q=0.1", CSV),
        ("application/json;q, text/csv;q=0.1", CSV),
        ("application/json;q=much, text/csv;q=0.1", CSV),
        ("application/json;q=-1, text/csv;q=0.1", CSV),
        ("application/json;q=nan, text/csv;q=0.1", CSV),
        ('application/json;q="1", text/csv;q=0.1', CSV),
        ("application/json;q=0;q=1, text/csv;q=0.1", CSV),
        ('application/json;a=";q=0", text/csv;q=0.9', JSON),
        (r'application/json;a="\";q=0", text/csv;q=0.9', JSON),
        ('text/html;a=", application/json", text/csv;q=0.1', CSV),
        ('text/csv;a="never closed, application/json', CSV),
        ('text/csv;a="never closed, application/json\\', CSV),
        ("csv, json;q=1, ;q=1, =;=, text/csv;q=0.1", CSV),
    ],
)
def test_what_is_malformed_misleads_nobody(accept: str, expected: str) -> None:
    """A q that is no number is 0, the first of two counts, and what is between quotes separates nothing."""
    assert answer_type(_asking(accept=accept), OFFERED) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/*", "*/*;q=0", "text/csv;q=0.0", "text", "*", "text/csv/*", "*/csv", "text/cs*"]
)
def test_who_accepts_nothing_of_it_is_told_what_there_is(accept: str) -> None:
    """With q=0, and with ranges that cover no type or are none."""
    with pytest.raises(NotAcceptable, match=r"^this call answers in application/json or text/csv$"):
        answer_type(_asking(accept=accept), (JSON, CSV))


ranges = st.dictionaries(
    st.sampled_from([JSON, CSV, "application/*", "text/*", "*/*", "text/html"]), st.sampled_from(["0", "0.5", "1"])
)


@given(ranges)
def test_the_order_of_ranges_says_nothing(accepted: dict[str, str]) -> None:
    """What is accepted is the same forwards and backwards."""
    parts = [f"{pattern};q={weight}" for pattern, weight in accepted.items()]

    def outcome(accept: str) -> str | None:
        try:
            return answer_type(_asking(accept=accept), OFFERED)
        except NotAcceptable:
            return None

    assert outcome(",".join(parts)) == outcome(",".join(reversed(parts)))


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        ("", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        (" text/csv ;header=present", CSV),
        ("text/csv;", CSV),
    ],
)
def test_a_body_is_of_the_type_it_names(given_type: str, expected: str) -> None:
    """In any case of letters, whatever its parameters are; JSON if it names none."""
    assert body_type(_asking(content_type=given_type), (JSON, CSV)) == expected


def test_a_body_without_the_header_is_json() -> None:
    """Also where the first type offered is another one."""
    assert body_type(_asking(), (CSV, JSON)) == JSON


@pytest.mark.parametrize("given_type", ["text/plain", "text/*", "*/*", "json", ";", "text/csv, application/json"])
def test_a_body_of_another_type_is_refused(given_type: str) -> None:
    """A range is no type, nor are two of them; the refusal names both what was sent and what to use."""
    with pytest.raises(UnknownMediaType, match="is not understood here: use application/json or text/csv") as refused:
        body_type(_asking(content_type=given_type), (JSON, CSV))
    assert repr(given_type.partition(";")[0]) in refused.value.detail


def test_a_long_type_is_cut_in_the_refusal() -> None:
    """To a hundred characters."""
    with pytest.raises(UnknownMediaType, match=f"'{'x' * 100}' is not understood"):
        body_type(_asking(content_type="x" * 101), (JSON,))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        ("gzip", {"gzip": True}),
        ("GZIP;Q=0.5, deflate ; q=0", {"gzip": True, "deflate": False}),
        ("gzip;q=0.000, *;q=0.1", {"gzip": False, "*": True}),
        ("br;q=x, identity;q=", {"br": False, "identity": False}),
        (",, gzip, ,", {"gzip": True}),
    ],
)
def test_encodings_by_name(header: str, expected: dict[str, bool]) -> None:
    """Each that is named is accepted, unless its q is 0 or no number."""
    assert accepted_encodings(_asking(accept_encoding=header)) == expected
    if not header:
        assert accepted_encodings(_asking()) == expected


def test_a_header_at_the_limit_is_read() -> None:
    """Its last character counts."""
    assert answer_type(_asking(accept=CSV.rjust(LONGEST, ",")), OFFERED) == CSV
    assert body_type(_asking(content_type=CSV.ljust(LONGEST, ";")), (JSON, CSV)) == CSV
    assert accepted_encodings(_asking(accept_encoding="gzip".rjust(LONGEST, ","))) == {"gzip": True}


def test_a_longer_header_is_refused() -> None:
    """With its length and the limit, whatever it says."""
    said = "1001 characters: at most 1000 are read, send a shorter one"
    with pytest.raises(NotAcceptable, match=f"^accept has {said}"):
        answer_type(_asking(accept=CSV.rjust(LONGEST + 1, ",")), OFFERED)
    with pytest.raises(NotAcceptable, match=f"^accept-encoding has {said}"):
        accepted_encodings(_asking(accept_encoding="gzip".rjust(LONGEST + 1, ",")))
    with pytest.raises(UnknownMediaType, match=f"^a Content-Type of {said}"):
        body_type(_asking(content_type=CSV.ljust(LONGEST + 1, ";")), (JSON, CSV))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(["text/html", "text/csv"], CSV), (["text/csv;q=0.1", "application/json;q=0.2"], JSON), (["", ","], JSON)],
)
def test_several_lines_are_one_list(lines: list[str], expected: str) -> None:
    """An Accept in several lines is read whole; one with nothing in it accepts anything."""
    headers = [(b"accept", line.encode()) for line in lines]
    assert answer_type(Request({"type": "http", "headers": headers}), OFFERED) == expected


@pytest.mark.parametrize("weight", ["7", "inf", "1_0"])
def test_no_weight_is_above_one(weight: str) -> None:
    """A larger one is 1: the first of equals wins."""
    assert answer_type(_asking(accept=f"application/json, text/csv;q={weight}"), OFFERED) == JSON


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html, application/json", True),
        ("text/html;q=0.5, application/json;q=0.5", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("text/html;q=0.9, */*;q=0.8", True),
        ("text/html;q=0.8, application/json;q=0.9", False),
        ("text/html;q=0.8, text/csv", False),
        ("text/html;q=0.8, */*;q=0.9", False),
        ("text/html;q=0, application/json;q=0", False),
        ("text/html;q=0", False),
        ("text/*", False),
        ("*/*", False),
        ("application/xhtml+xml", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_who_prefers_a_type_names_it(accept: str, preferred: bool) -> None:
    """With a q that none of those offered is above; a range that covers it among others is no wish for it."""
    assert prefers(_asking(accept=accept), HTML, OFFERED) is preferred
