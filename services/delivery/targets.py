"""Targets of webhooks: public https addresses, and nothing that lies inside a network.

`check_url` judges what is written, at registration; `is_public` judges an address, once the name has been looked up and before
anything is sent (`services.delivery.outbound`). Writing is judged by what is admitted, not by a list of tricks: a host is a
dotted name of ASCII letters, digits and hyphens that does not end in a number, or an address in its one canonical spelling.
Octal, hexadecimal, short and dword spellings, fullwidth digits, zone ids, user names and trailing dots are then all outside.

The ranges are our own table because `ipaddress.is_global` depends on the interpreter's age and calls NAT64, multicast and some
transition addresses global.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), RFC 6052 (NAT64), RFC 5214 (ISATAP).
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

from services.http.problems import Refusal

POINTER: Final = "/url"
MAX_URL: Final = 2_048
HTTPS_PORT: Final = 443
FIRST_FREE_PORT: Final = 1_024  # below it live mail, directories and shells, which some speak TLS on

_INSIDE_4: Final = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a cloud's own services, at an address that looks public
    )
)
_UNICAST_6: Final = IPv6Network("2000::/3")  # everything else is local, multicast, mapped or not given out
_INSIDE_6: Final = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20")
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_INSIDE_NAMES: Final = frozenset(
    {
        "localhost",
        "local",
        "localdomain",
        "internal",
        "intranet",
        "lan",
        "home",
        "corp",
        "private",
        "arpa",
        "test",
        "invalid",
        "onion",
    }
)
_SHAPE: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.ASCII,
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Target(NamedTuple):
    """Target of a connection: the parts of a URL that decide where it goes; `host` in lower case, without brackets."""

    scheme: str
    host: str
    port: int


def is_public(address: str) -> bool:
    """Whether an address lies outside of every private, local, shared and special range.

    Parameters
    ----------
    address
        As `getaddrinfo` writes it; what is no address is not public.

    Examples
    --------
    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    >>> is_public("2606:2800:21f:cb07::1"), is_public("64:ff9b::8.8.8.8"), is_public("64:ff9b::127.0.0.1")
    (True, True, False)
    """
    try:
        return _public_6(IPv6Address(address)) if ":" in address else _public_4(IPv4Address(address))
    except ValueError:
        return False


def _public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _INSIDE_4)


def _public_6(address: IPv6Address) -> bool:
    embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return _public_4(embedded)
    if address not in _UNICAST_6 or any(address in network for network in _INSIDE_6):
        return False
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP or _public_4(embedded)


def check_url(url: str, allow_private: bool) -> None:
    """Refuse a webhook address that is not plainly a public https one.

    Parameters
    ----------
    allow_private
        For development: http, loopback, private addresses and bare names are admitted too; the spelling stays canonical.

    Raises
    ------
    Refusal
        422 at ``/url``; it says what is expected and repeats nothing of the address.

    Examples
    --------
    >>> check_url("https://hooks.example.com/attune?shop=1", allow_private=False)
    >>> check_url("http://127.0.0.1:8000/", allow_private=True)
    >>> check_url("http://hooks.example.com/attune", allow_private=False)
    Traceback (most recent call last):
    services.http.problems.Refusal: the address must begin with https://
    """
    target = parse(url)
    if allow_private:
        return
    if target.scheme != "https":
        raise Refusal(422, "the address must begin with https://", POINTER)
    if target.port != HTTPS_PORT and target.port < FIRST_FREE_PORT:
        raise Refusal(422, f"the port must be {HTTPS_PORT}, or {FIRST_FREE_PORT} and above", POINTER)
    if _is_address(target.host):
        if not is_public(target.host):
            raise Refusal(422, "the address must be a public one", POINTER)
    elif "." not in target.host or target.host.rpartition(".")[2] in _INSIDE_NAMES:
        raise Refusal(422, "the host must be a public name", POINTER)


def parse(url: str) -> Target:
    """Take a URL apart that has exactly one reading.

    Raises
    ------
    Refusal
        422 at ``/url``, for one that is too long, has a user name, a fragment or characters that must be escaped, or whose host
        is not canonical.

    Examples
    --------
    >>> parse("https://Shop.example:8443/in")
    Target(scheme='https', host='shop.example', port=8443)
    """
    if len(url) > MAX_URL:
        raise Refusal(422, f"the address may have {MAX_URL} characters at most", POINTER)
    found = _SHAPE.fullmatch(url)
    if found is None:
        raise Refusal(422, "expected https://host/path in plain ASCII, without user name or fragment", POINTER)
    host, port = found["host"].lower().strip("[]"), int(found["port"] or (HTTPS_PORT if found["scheme"] == "https" else 80))
    if not 0 < port < 65_536:
        raise Refusal(422, "the port must be between 1 and 65535", POINTER)
    if not (_is_address(host) or (_is_name(host) and not found["host"].startswith("["))):
        said = "the host must be a name of letters, digits, hyphens and dots, or an address in its usual spelling"
        raise Refusal(422, said, POINTER)
    return Target(found["scheme"], host, port)


def _is_address(host: str) -> bool:
    """Whether a host is an address in a spelling that every reader understands alike."""
    try:
        IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels) and not _NUMBER.fullmatch(labels[-1])
