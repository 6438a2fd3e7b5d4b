"""The rule for endpoints: what is refused, and how accepted ones are normalised."""

import ipaddress

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jatevo.wire.endpoints import EndpointError, endpoint_problem, parse_endpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "macbook.local:11435",
        "ftp://1.1.1.1",
        "file:///etc/passwd",
        "gopher://1.1.1.1:70",
        "http://",
        "http:///path",
        "http://:80",
        "http://1.1.1.1:0",
        "http://1.1.1.1:65536",
        "http://1.1.1.1:-1",
        "http://1.1.1.1:",
        "http://1.1.1.1:80:90",
        "http://1.1.1.1:eighty",
        "http://user@1.1.1.1",
        "http://user:word@1.1.1.1",
        "http://@1.1.1.1",
        "http://1.1.1.1\\@127.0.0.1",
        "http://1.1.1.1 /",
        "http://1.1.1.1\r\nHost: x",
        "http://1.1.1.1\t",
        "http://1.1.1.1/?a=b",
        "http://1.1.1.1/#top",
        "http://ex%61mple.com",
        "http://bücher.example",
        "http://\uff11.1.1.1",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "http://[1.1.1.1",
        "http://1.1.1.1/" + "a" * 300,
        "http://1.1.1.1?token=secret",
        "http://1.1.1.1?",
        "http://1.1.1.1#f",
        "http://1.1.1.1#",
        "http://[fe80::1%eth0]",
        "http://[::1]x:80",
        "http://[1.1.1.1]",
        "http://[]:80",
        "http://::1",
        "http://300.1.1.1",
        "http://1.2.3",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://node.0x7f",
        "http://...",
        "http://a..b",
        "http://-a.example",
        "http://a-.example",
        "http://" + "a" * 64 + ".example",
        "http://" + "a." * 130 + "example",
        "http://a,b",
        "//node.example",
        "node.example",
    ],
)
def test_an_unusable_endpoint_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(EndpointError) as refused:
        parse_endpoint(text)
    assert endpoint_problem(text) == str(refused.value) != ""


@pytest.mark.parametrize(
    ("text", "host_header", "url"),
    [
        ("http://node.example", "node.example", "http://1.1.1.1:80/healthz"),
        ("HTTP://Node.Example:8080/", "node.example:8080", "http://1.1.1.1:8080/healthz"),
        ("https://node.example:443/a/b/", "node.example", "https://1.1.1.1:443/a/b/healthz"),
        ("http://[2606:4700::1]:81/x", "[2606:4700::1]:81", "http://1.1.1.1:81/x/healthz"),
        ("http://[2606:4700:0:0:0:0:0:1]", "[2606:4700::1]", "http://1.1.1.1:80/healthz"),
        ("http://[::1]:11435", "[::1]:11435", "http://1.1.1.1:11435/healthz"),
        ("http://gpu_1:11435", "gpu_1:11435", "http://1.1.1.1:11435/healthz"),
        ("http://node.example./", "node.example.", "http://1.1.1.1:80/healthz"),
    ],
)
def test_endpoint_becomes_host_header_and_url_by_address(text: str, host_header: str, url: str) -> None:
    endpoint = parse_endpoint(text)
    assert endpoint.host_header == host_header
    assert endpoint.url_at(ipaddress.ip_address("1.1.1.1"), "/healthz") == url


def test_ipv6_address_is_bracketed_in_the_url() -> None:
    url = parse_endpoint("http://node.example").url_at(ipaddress.ip_address("2606:4700::1"), "/healthz")
    assert url == "http://[2606:4700::1]:80/healthz"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://node.example", "HTTP://Node.Example:80/"),
        ("https://node.example/a", "https://node.example:443/a/"),
        ("http://[2606:4700::1]:81", "http://[2606:4700:0::0:1]:81/"),
    ],
)
def test_spellings_of_one_endpoint_compare_equal(one: str, other: str) -> None:
    assert parse_endpoint(one) == parse_endpoint(other)
    assert str(parse_endpoint(one)) == str(parse_endpoint(other))


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.2:1", True),
        ("http://[::1]:1", True),
        ("http://node.example", False),
        ("http://[2606:4700::1]", False),
    ],
)
def test_loopback_is_known_by_name_and_address(text: str, loopback: bool) -> None:
    assert parse_endpoint(text).is_loopback is loopback


PIECES = st.sampled_from(
    ["http", "https", "HTTP", "ftp", "://", ":", "/", "//", "[", "]", "::1", "%eth0", "@", "?", "#", "\\", ".", "..",
     "127.0.0.1", "1", "0x7f", "a", "node.example", "-", "_", " ", "\n", "\u202e", "é", "80", "0", "65536", "a=b"]
)  # fmt: skip


@given(st.one_of(st.lists(PIECES, max_size=9).map("".join), st.text(max_size=40)))
@example("http://[::ffff:1.2.3.4]:5/x")
@settings(max_examples=500, deadline=None)
def test_whatever_is_taken_can_be_called_and_parses_to_itself(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except EndpointError as error:
        assert str(error)
        return
    assert parse_endpoint(str(endpoint)) == endpoint
    called = httpx.URL(endpoint.url_at(endpoint.address or ipaddress.ip_address("192.0.2.1"), "/healthz"))
    assert (called.scheme, called.port or {"http": 80, "https": 443}[called.scheme]) == (
        endpoint.scheme,
        endpoint.port,
    )
    assert not called.query and not called.fragment and not called.userinfo
    assert called.path.endswith("/healthz")
