"""The one form of a title's URL: as a browser writes it (the URL Standard of the WHATWG), so that all read the same."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple
from urllib.parse import quote

_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)((?:\?[^#]*)?)((?:#.*)?)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]*))?", re.ASCII)
"""A host and a port, in lower case. Browsers accept more hosts, but differ in their meaning."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
# Characters that the path, the query and the fragment keep; all others are escaped, after their bytes in UTF-8.
_SAFE_IN_PATH = "!$%&'()*+,/:;=@[]|"
_SAFE_IN_QUERY = "!$%&()*+,/:;=?@[]^`{|}"
_SAFE_IN_FRAGMENT = "!#$%&'()*+,/:;=?@[]^{|}"


class TitleUrl(NamedTuple):
    """A title's URL in its one form.

    origin: scheme and host in lower case, and the port unless it is the scheme's own.
    path: from the first slash, without dot segments.
    rest: the query and the fragment, with their signs.
    """

    origin: str
    path: str
    rest: str

    def __str__(self) -> str:
        return self.origin + self.path + self.rest


def parse_title(url: str) -> TitleUrl:
    """Return a URL in its one form. Raises ValueError with a sentence for the client."""
    if not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("The URL contains a space, a backslash or an unprintable character.")
    match = _URL.fullmatch(url)
    if match is None or not match[2]:
        raise ValueError("The URL is not an absolute http or https URL.")
    scheme, authority, path, query, fragment = match[1].lower(), match[2], match[3], match[4], match[5]
    if "@" in authority:
        raise ValueError("The URL contains a user name.")
    return TitleUrl(
        f"{scheme}://{_authority(scheme, authority)}",
        quote(_without_dot_segments(path), _SAFE_IN_PATH),
        quote(query, _SAFE_IN_QUERY) + quote(fragment, _SAFE_IN_FRAGMENT),
    )


def _authority(scheme: str, authority: str) -> str:
    # `lower` would make ASCII of some other letters, such as the sign for kelvin.
    match = _AUTHORITY.fullmatch(authority.lower()) if authority.isascii() else None
    if match is None:
        raise ValueError("The URL's host is not in the form that browsers use (xn--... for other alphabets).")
    host, port = _host(match[1]), int(match[2] or _DEFAULT_PORTS[scheme])
    if port > _MAX_PORT:
        raise ValueError(f"The URL's port is greater than {_MAX_PORT}.")
    return host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"


def _host(host: str) -> str:
    """Return a host in lower case as browsers write it. Raises ValueError if browsers reject it, or write it differently."""
    try:
        if host.startswith("["):
            return f"[{_compressed(ipaddress.IPv6Address(host[1:-1]))}]"
        labels = host.removesuffix(".").split(".")
        if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
            # Browsers read it as an IPv4 address, also 127.1 and 0x7f.1.
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError("The URL's host is no IP address in its usual form.") from None
    if host == "." or not all(map(_is_label, labels)):
        raise ValueError("The URL's host name is one that browsers reject.")
    return host


def _compressed(address: ipaddress.IPv6Address) -> str:
    """Return an address without its longest run of zeros. Python writes some addresses with an IPv4 address in them."""
    groups = [f"{int.from_bytes(address.packed[i : i + 2]):x}" for i in range(0, 16, 2)]
    zeros = max(
        re.finditer(r"(?:(?<![^:])0(?::|$))+", ":".join(groups)), key=lambda run: run[0].count("0"), default=None
    )
    text = ":".join(groups)
    if zeros is None or zeros[0].count("0") < 2:
        return text
    return f"{text[: zeros.start()].removesuffix(':')}::{text[zeros.end() :]}"


def _is_label(label: str) -> bool:
    if not label.startswith("xn--"):
        return True
    try:
        name = label[4:].encode().decode("punycode")
        plain = name.isascii() or not name.isprintable() or name != unicodedata.normalize("NFKC", name).casefold()
        return not plain and name.encode("punycode") == label[4:].encode()
    except (ValueError, UnicodeError):
        return False


def _without_dot_segments(path: str) -> str:
    """Return a path as browsers resolve it; they read "%2e" as a dot. An empty path becomes a slash."""
    segments: list[str] = []
    parts = path.split("/")[1:] or [""]
    for place, part in enumerate(parts, 1):
        dots = part.lower().replace("%2e", ".")
        if dots == "..":
            del segments[-1:]
        elif dots != ".":
            segments.append(part)
            continue
        if place == len(parts):
            segments.append("")
    return "/" + "/".join(segments)
