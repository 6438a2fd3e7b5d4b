"""TLS of the gateway: certificates of files, of clients, and renewed ones."""

from __future__ import annotations

import json
import socket
import ssl
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from fake_runtime import FakeRuntime
from jatevo_agent.gateway import certificates
from serving_node import CHAT, KEY, MESSAGES, ServingNode

NONCE = "00112233445566778899AAbbccddeeff"


class Certificates:
    """A server certificate, and client certificates of the right and of a wrong authority, as files."""

    def __init__(self, folder: Path) -> None:
        self.authority, wrong = trustme.CA(), trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.server = self._files(folder, "server", self.authority.issue_cert("127.0.0.1"))
        self.client = self._files(folder, "client", self.authority.issue_cert("gateway.example"))
        self.stranger = self._files(folder, "stranger", wrong.issue_cert("gateway.example"))

    def context(self, client: tuple[str, str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if client:
            context.load_cert_chain(*client)
        return context

    @staticmethod
    def _files(folder: Path, name: str, issued: trustme.LeafCert) -> tuple[str, str]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)


def test_mutual_tls(runtime: FakeRuntime, tmp_path: Path) -> None:
    """Gateways need a certificate of the named authority. Validators have none, and only ask for health."""
    files = Certificates(tmp_path)
    tls = {"certificate": files.server[0], "key": files.server[1], "client_ca": str(files.ca)}
    node = ServingNode(tmp_path, runtime.url, tls=tls)
    node.start()

    def ask(path: str, client: tuple[str, str] | None, **members: Any) -> httpx.Response:
        with httpx.Client(verify=files.context(client), trust_env=False) as http:
            headers = {"Authorization": f"Bearer {KEY}"}
            if not members:
                return http.get(node.url + path, headers=headers)
            return http.post(node.url + path, headers=headers, json=members)

    try:
        streamed = ask(CHAT, files.client, model="llama3.1", messages=MESSAGES, stream=True)
        assert "[DONE]" in streamed.text
        assert ask(f"/healthz?nonce={NONCE}", None).json()["nonce"] == NONCE
        refused = ask(CHAT, None, model="llama3.1", messages=MESSAGES)
        assert (refused.status_code, json.loads(refused.text)["error"]["type"]) == (403, "forbidden")
        with pytest.raises(httpx.TransportError):
            ask(CHAT, files.stranger, model="llama3.1", messages=MESSAGES)
        assert len(node.receipts()) == 1
    finally:
        node.close()


def test_certificates_that_cannot_be_used_are_one_sentence(runtime: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    tls = {"certificate": str(tmp_path / "no.pem"), "key": str(tmp_path / "no.pem")}
    with pytest.raises(Exception, match=r"^tls: the files cannot be used: "):
        ServingNode(tmp_path, runtime.url, tls=tls)


def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(
    runtime: FakeRuntime, tmp_path: Path, log: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "SECONDS_BETWEEN_LOOKS", 0.05)
    files = Certificates(tmp_path)
    certificate, key = files.server
    node = ServingNode(tmp_path, runtime.url, tls={"certificate": certificate, "key": key})
    node.start()

    def serial() -> str:
        plain = socket.create_connection(("127.0.0.1", node.port), timeout=10)
        with files.context().wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            return str((secured.getpeercert() or {})["serialNumber"])

    try:
        first = serial()
        Path(certificate).write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
        node.wait_until(lambda: "cannot be used" in log.getvalue())
        assert serial() == first
        issued = files.authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "renewed.pem"))
        (tmp_path / "renewed.pem").replace(key)  # both in one file, as some tools write it
        Path(certificate).write_bytes(Path(key).read_bytes())
        node.wait_until(lambda: serial() != first)
    finally:
        node.close()
