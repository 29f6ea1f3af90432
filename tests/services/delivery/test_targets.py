"""No spelling of an inside address is registered, and none is reached: a real listener on loopback sees no connection."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.delivery.answers import Answer
from services.delivery.outbound import InsideAddressError, Outbound, guarded_socket
from services.delivery.targets import check_url, is_public
from services.http.problems import Refusal
from tests.waiting import PATIENCE_S

# {port} is where the listener waits. Every one of these means, to some reader, a place inside.
SPELLINGS = (
    *("https://127.0.0.1:{port}/", "http://127.0.0.1:{port}/", "https://127.0.0.2:{port}/", "https://127.255.255.254:{port}/"),
    *("https://127.1:{port}/", "https://127.0.1:{port}/", "https://127:{port}/", "https://2130706433:{port}/"),
    *("https://0x7f000001:{port}/", "https://0x7f.0.0.1:{port}/", "https://0x7f.1:{port}/", "https://0X7F.0X0.0X0.0X1:{port}/"),
    *("https://017700000001:{port}/", "https://0177.0.0.1:{port}/", "https://0177.1:{port}/", "https://00000177.0.0.1:{port}/"),
    *(
        "https://127.0.0.1.:{port}/",
        "https://127.0.0.01:{port}/",
        "https://127.0.0.0x1:{port}/",
        "https://127.00.00.01:{port}/",
    ),
    *("https://0:{port}/", "https://0.0.0.0:{port}/", "https://0x0:{port}/", "https://00.0.0.0:{port}/"),
    *("https://localhost:{port}/", "https://LOCALHOST:{port}/", "https://localhost.:{port}/", "https://a.localhost:{port}/"),
    *("https://localhost.localdomain:{port}/", "https://ip6-localhost:{port}/", "https://loopback:{port}/"),
    *("https://[::1]:{port}/", "http://[::1]:{port}/", "https://[0:0:0:0:0:0:0:1]:{port}/", "https://[::]:{port}/"),
    *("https://[::0001]:{port}/", "https://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/", "https://[::1%25lo]:{port}/"),
    *("https://[::1%lo]:{port}/", "https://[::127.0.0.1]:{port}/", "https://[::7f00:1]:{port}/"),
    *("https://[::ffff:127.0.0.1]:{port}/", "https://[::ffff:7f00:1]:{port}/", "https://[::ffff:0:127.0.0.1]:{port}/"),
    *("https://[0:0:0:0:0:ffff:127.0.0.1]:{port}/", "https://[::FFFF:7F00:0001]:{port}/"),
    *("https://[64:ff9b::127.0.0.1]:{port}/", "https://[64:ff9b::7f00:1]:{port}/", "https://[64:ff9b:1::7f00:1]:{port}/"),
    *("https://[2002:7f00:1::]:{port}/", "https://[2002:7f00:0001::1]:{port}/", "https://[2002:a00:1::]:{port}/"),
    *("https://[2001:0:7f00:1::80ff:fffe]:{port}/", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]:{port}/"),
    *("https://[2a01:db8::5efe:127.0.0.1]:{port}/", "https://[fe80::1]:{port}/", "https://[fe80::1%25eth0]:{port}/"),
    *("https://[fc00::1]:{port}/", "https://[fd00:ec2::254]:{port}/", "https://[fec0::1]:{port}/", "https://[ff02::1]:{port}/"),
    *("https://[100::1]:{port}/", "https://[2001:db8::1]:{port}/", "https://[3fff::1]:{port}/"),
    *(
        "https://10.0.0.1:{port}/",
        "https://172.16.0.1:{port}/",
        "https://172.31.255.255:{port}/",
        "https://192.168.1.1:{port}/",
    ),
    *(
        "https://169.254.169.254:{port}/",
        "https://0xa9fea9fe:{port}/",
        "https://2852039166:{port}/",
        "https://100.64.0.1:{port}/",
    ),
    *(
        "https://100.100.100.200:{port}/",
        "https://192.0.0.192:{port}/",
        "https://168.63.129.16:{port}/",
        "https://198.18.0.1:{port}/",
    ),
    *(
        "https://224.0.0.1:{port}/",
        "https://240.0.0.1:{port}/",
        "https://255.255.255.255:{port}/",
        "https://192.88.99.1:{port}/",
    ),
    *(
        "https://metadata.google.internal:{port}/",
        "https://db.local:{port}/",
        "https://intranet:{port}/",
        "https://x.home.arpa:{port}/",
    ),
    *(
        "https://１２７.0.0.1:{port}/",
        "https://①②⑦.⓪.⓪.①:{port}/",
        "https://127。0。0。1:{port}/",
        "https://127．0．0．1:{port}/",
    ),
    *(
        "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
        "https://loc\u00adalhost:{port}/",
        "https://local\u200bhost:{port}/",
        "https://[：:1]:{port}/",
    ),
    *("https://shop.example@127.0.0.1:{port}/", "https://a:b@127.0.0.1:{port}/", "https://shop.example:443@127.0.0.1:{port}/"),
    *("https://127.0.0.1:{port}#@shop.example/", "https://127.0.0.1:{port}\\@shop.example/", "https:\\\\127.0.0.1:{port}/"),
    *("https:///127.0.0.1:{port}/", "https:127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}/"),
    *("https://%31%32%37.0.0.1:{port}/", "https://127%2e0%2e0%2e1:{port}/", "https://127.0.0.1%00.shop.example:{port}/"),
    *(
        " https://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/\r\nHost: x",
        "https://127.0.0.1\t:{port}/",
        "HTTPS://127.0.0.1:{port}/",
    ),
    *("https://127.0.0.1:0{port}/", "https://shop.example, 127.0.0.1:{port}/", "https://[127.0.0.1]:{port}/"),
    *("gopher://127.0.0.1:{port}/_x", "file:///etc/passwd", "ftp://127.0.0.1:{port}/", "unix:///var/run/docker.sock", ""),
)
INSIDE = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1"),
    *(
        "2001::1",
        "2001:db8::1",
        "2002:808:808::1",
        "3fff::1",
        "fc00::1",
        "fd00::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
    ),
    *("2a01:db8::5efe:10.0.0.1", "2a01:db8::200:5efe:10.0.0.1", "5f00::1", "not an address", ""),
)


class Listener(NamedTuple):
    """Waits on loopback, by both versions of the protocol, on one port."""

    port: int
    connections: list[str]


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    connections: list[str] = []
    found = socket.create_server(("127.0.0.1", 0))
    port = found.getsockname()[1]
    servers = [found]
    if socket.has_ipv6:
        with suppress(OSError):  # a machine without the newer protocol has one door less
            servers.append(socket.create_server(("::1", port), family=socket.AF_INET6))

    def accept(server: socket.socket) -> None:
        try:
            while True:
                connection, where = server.accept()
                connections.append(str(where))
                connection.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
                connection.recv(65_536)
                connection.close()
        except OSError:
            return

    threads = [threading.Thread(target=accept, args=(server,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    yield Listener(port, connections)
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(PATIENCE_S)


async def posted(
    urls: list[str], answers: Sequence[Sequence[tuple[int, str]]] | None = None, timeout_s: float = PATIENCE_S
) -> list[Answer]:
    """POST to each address as delivery does; `answers` is what the name server says, one after the other."""
    said = iter(answers or [])
    lookup = (lambda host, port: list(next(said))) if answers else None
    outbound = Outbound(False, timeout_s, lookup) if lookup else Outbound(False, timeout_s)
    try:
        return [await outbound.post(url, b"{}", {}) for url in urls]
    finally:
        await outbound.close()


def refused(url: str) -> bool:
    try:
        check_url(url, allow_private=False)
    except Refusal as refusal:
        return refusal.problem.status == 422 and refusal.problem.pointer == "/url"
    return False


def test_no_spelling_of_an_inside_address_is_registered() -> None:
    urls = [spelling.format(port=8443) for spelling in SPELLINGS]
    assert len(set(urls)) >= 60
    assert [url for url in urls if not refused(url)] == []


def test_no_spelling_of_an_inside_address_is_reached(listener: Listener) -> None:
    answers = asyncio.run(posted([spelling.format(port=listener.port) for spelling in SPELLINGS]))
    assert {answer.outcome for answer in answers} == {"inside"}
    assert listener.connections == []


def test_no_name_that_leads_inside_is_reached(listener: Listener) -> None:
    urls = [f"https://host{n}.example.com:{listener.port}/" for n in range(len(INSIDE))]
    leads = [[(socket.AF_INET6 if ":" in address else socket.AF_INET, address)] for address in INSIDE]
    assert {answer.outcome for answer in asyncio.run(posted(urls, leads))} == {"inside"}
    assert listener.connections == []


def test_a_name_with_one_public_and_one_inside_address_is_not_tried(listener: Listener) -> None:
    both = [(socket.AF_INET6, "2d00::1"), (socket.AF_INET, "127.0.0.1")]
    assert asyncio.run(posted([f"https://two.example.com:{listener.port}/"], [both]))[0].outcome == "inside"
    assert listener.connections == []


def test_a_name_that_changes_its_mind_is_asked_once_and_judged_by_that_answer(listener: Listener) -> None:
    # A public address first (nobody has it, nothing answers there), then loopback: whatever is asked for next must not be used.
    url = f"https://rebound.example.com:{listener.port}/"
    answers = [[(socket.AF_INET6, "2d00::1")], [(socket.AF_INET, "127.0.0.1")]]
    assert asyncio.run(posted([url], answers, 0.3))[0].outcome in {"connection", "timeout"}
    assert asyncio.run(posted([url], answers[1:]))[0].outcome == "inside"
    assert listener.connections == []


@pytest.mark.parametrize("address", [a for a in INSIDE if a and a[0] != "n"])
def test_no_socket_is_made_for_an_inside_address(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(InsideAddressError):
        guarded_socket((family, socket.SOCK_STREAM, 0, "", (address, 443)))


def test_the_listener_is_there_for_who_may_go_inside(listener: Listener) -> None:
    async def allowed() -> Answer:
        outbound = Outbound(True, PATIENCE_S)
        try:
            return await outbound.post(f"http://127.0.0.1:{listener.port}/", b"{}", {})
        finally:
            await outbound.close()

    assert asyncio.run(allowed()).status == 204
    assert len(listener.connections) == 1
    listener.connections.clear()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/attune",
        "https://Hooks.Example.com:8443/a/b?c=d&e=%20",
        "https://93.184.215.14/in",
        "https://[2606:2800:21f:cb07::1]/in",
        "https://xn--mnchen-3ya.example.com/",
        "https://a-b.example.co:443",
    ],
)
def test_a_public_address_may_be_registered(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com:22/", "https://hooks.example.com:0/", "https://hooks.example.com:65536/"]
)
def test_a_port_of_another_trade_is_refused(url: str) -> None:
    assert refused(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost:8000/in", "https://[::1]/", "http://receiver/"])
def test_development_may_go_inside_if_the_setting_says_so(url: str) -> None:
    check_url(url, allow_private=True)
    assert refused(url)


def test_a_refusal_says_nothing_of_the_address() -> None:
    with pytest.raises(Refusal) as caught:
        check_url("https://secret-canary.internal/", allow_private=False)
    assert "canary" not in caught.value.problem.detail


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_is_judged_like_the_address_itself(number: int) -> None:
    plain = str(IPv4Address(number))
    assert is_public(f"64:ff9b::{plain}") == is_public(plain)
    assert not is_public(f"::ffff:{plain}")
    assert is_public(plain) <= IPv4Address(number).is_global or plain.startswith("192.")


@given(st.integers(0, 2**128 - 1))
def test_what_the_standard_library_knows_to_be_inside_is_inside(number: int) -> None:
    address = IPv6Address(number)
    assert is_public(str(address)) <= (address.is_global and not address.is_multicast)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_has_one_reading(text: str) -> None:
    url = f"https://{text}"
    assert refused(url) or text.isascii()
