"""HTTP ranges as RFC 9110 defines them."""

from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from jatevo.web.ranges import ByteRange, Unsatisfiable, wanted_range

numbers = st.integers(0, 40)


def asked(text: str, size: int) -> ByteRange | str | None:
    request = RequestFactory().get("/", headers={"Range": text})
    try:
        return wanted_range(request, size=size, etag='"x"')
    except Unsatisfiable:
        return "416"


@given(first=numbers, last=numbers, size=numbers)
def test_a_range_has_the_bytes_that_the_file_has_of_it(first: int, last: int, size: int) -> None:
    found = asked(f"bytes={first}-{last}", size)
    bytes_of = list(range(size))[first : last + 1]
    if first >= size:
        assert found == "416"
    elif last < first:
        assert found is None
    else:
        assert isinstance(found, ByteRange)
        assert list(range(found.first, found.last + 1)) == bytes_of
        assert found.size == len(bytes_of)


@given(last=numbers, size=numbers)
def test_a_suffix_is_the_last_bytes(last: int, size: int) -> None:
    found = asked(f"bytes=-{last}", size)
    if not last or not size:
        assert found == "416"
    else:
        assert isinstance(found, ByteRange)
        assert list(range(found.first, found.last + 1)) == list(range(size))[-last:]


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20))
def test_any_other_text_is_no_range(text: str) -> None:
    assert asked(text, 10) in {None, "416", *(ByteRange(a, b) for a in range(10) for b in range(10))}
