"""What distinguishes machines, and what many honest ones share."""

import pytest

from nodes.rules.marks import endpoint_mark, hardware_mark


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("http://node.example.org:11435", "http://NODE.example.org:11435/"),
        ("http://node.example.org:11435", "http://node.example.org.:11435"),
        ("http://node.example.org:11435", "https://node.example.org:11435/agent?x=1"),
        ("http://node.example.org", "http://node.example.org:80/"),
        ("https://node.example.org", "https://node.example.org:443"),
        ("http://8.8.4.4:11435", "http://[::ffff:8.8.4.4]:11435"),
        ("http://[2606:4700::1111]:11435", "http://[2606:4700:0:0:0:0:0:1111]:11435"),
    ],
)
def test_spellings_of_one_endpoint_are_one_mark(one: str, another: str) -> None:
    assert endpoint_mark(one) == endpoint_mark(another) != ""


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("http://node.example.org:11435", "http://node.example.org:11436"),  # a household behind one address
        ("http://node.example.org:11435", "http://nodes.example.org:11435"),
        ("http://8.8.4.4:11435", "http://8.8.8.8:11435"),
    ],
)
def test_other_endpoints_are_other_marks(one: str, another: str) -> None:
    assert endpoint_mark(one) != endpoint_mark(another)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://127.0.0.1:11435",
        "http://127.1.2.3:11435",
        "http://localhost:11435",
        "http://agent.localhost:11435",
        "http://[::1]:11435",
        "http://[::ffff:127.0.0.1]:11435",
        "http://0.0.0.0:11435",
        "http://10.0.0.7:11435",
        "http://172.20.1.1:11435",
        "http://192.168.1.5:11435",
        "http://100.64.3.2:11435",
        "http://169.254.1.1:11435",
        "http://[fd00::1]:11435",
        "http://[fe80::1]:11435",
        "http://studio:11435",
        "http://macbook.local:11435",
        "http://nas.lan:11435",
        "http://box.home.arpa:11435",
        "not a url",
        "http://[::1",
        "http://host:99999",
        "ftp://node.example.org",
    ],
)
def test_a_local_or_invalid_endpoint_is_no_mark(endpoint: str) -> None:
    assert endpoint_mark(endpoint) == ""


def test_hardware_hash_is_compared_without_case_and_white_space() -> None:
    assert hardware_mark(" BLAKE3:ABCDEF12\n") == hardware_mark("blake3:abcdef12") == "blake3:abcdef12"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "blake3:",
        "unknown",
        "blake3:unknown",
        "N/A",
        "blake3:" + "0" * 64,
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    ],
)
def test_a_hash_of_nothing_is_no_mark(text: str) -> None:
    assert hardware_mark(text) == ""
