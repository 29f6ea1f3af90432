"""The way out, with real TLS on loopback: who is asked for, who is believed, and what a name server can hold up."""

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.delivery.answers import Answer
from services.delivery.outbound import Lookup, Outbound
from tests.waiting import PATIENCE_S

NAME = "hooks.example.com"


class Secure(NamedTuple):
    """An https endpoint for one name; `asked` is what clients asked for: (name in the handshake, Host header)."""

    port: int
    believe: ssl.SSLContext
    asked: list[tuple[str | None, str]]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `NAME` that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    none = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, _: names.append(name)
    server = socket.create_server(("127.0.0.1", 0))
    asked: list[tuple[str | None, str]] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    fields = connection.recv(65_536).decode().split("\r\n")
                    asked.append((names[-1], next(f for f in fields if f.lower().startswith("host:"))[6:]))
                    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            except OSError:
                continue  # a client that does not believe us

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Secure(server.getsockname()[1], ssl.create_default_context(cafile=str(cert)), asked)
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(PATIENCE_S)


def posted(url: str, lookup: Lookup, tls: ssl.SSLContext | None = None, timeout_s: float = PATIENCE_S) -> Answer:
    async def post() -> Answer:
        outbound = Outbound(True, timeout_s, lookup, tls)
        try:
            return await outbound.post(url, b"{}", {})
        finally:
            await outbound.close()

    return asyncio.run(post())


def at_home(host: str, port: int) -> list[tuple[int, str]]:
    return [(socket.AF_INET, "127.0.0.1")]


def test_the_connection_goes_to_the_address_that_was_looked_up_under_the_name_that_was_written(secure: Secure) -> None:
    answer = posted(f"https://{NAME}:{secure.port}/in", at_home, secure.believe)
    assert answer.status == 204
    assert secure.asked == [(NAME, f"{NAME}:{secure.port}")]


@pytest.mark.parametrize("name", [NAME, "other.example.com"])
def test_a_certificate_of_nobody_or_for_another_name_is_not_believed(secure: Secure, name: str) -> None:
    believe = None if name == NAME else secure.believe
    answer = posted(f"https://{name}:{secure.port}/in", at_home, believe)
    assert answer.outcome == "tls"
    assert secure.asked == []


def test_a_name_server_that_hangs_holds_up_only_who_asks_it(secure: Secure) -> None:
    released = threading.Event()

    def lookup(host: str, port: int) -> list[tuple[int, str]]:
        if host != NAME:
            released.wait()
        return at_home(host, port)

    async def beside_others() -> Answer:
        outbound = Outbound(True, PATIENCE_S, lookup, secure.believe)
        slow = [asyncio.create_task(outbound.post(f"https://slow-{n}.example.com/", b"{}", {})) for n in range(20)]
        answer = await outbound.post(f"https://{NAME}:{secure.port}/in", b"{}", {})
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await outbound.close()
        return answer

    try:
        assert asyncio.run(beside_others()).status == 204
        assert posted("https://slow.example.com/", lookup, secure.believe, timeout_s=0.3).outcome == "timeout"
    finally:
        released.set()
