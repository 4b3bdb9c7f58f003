"""The sections about clients: HTTP, auth tokens and titles."""

from __future__ import annotations

from dataclasses import dataclass

from ..rules.title_allowlist import CLIP_URL
from ..rules.title_allowlist import TitleAllowlist as AllowedTitles
from .declaration import key
from .value_types import choice, duration, origin, proxies, text, texts, url


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """HTTP, on the same port as the WebSocket."""

    redirect_target: str = key(
        text("an absolute http(s) URL, or / for the party page", r"/|https?://[^\s/?#]+[^\s?#]*"),
        "https://www.netflix.com",
        "Where invite links lead. / is this server's own party page.",
    )
    invite_base_url: str = key(
        url("http", "https", query=False),
        "",
        "The beginning of invite links, such as https://party.example.org. Empty: as the client reached this server.",
    )
    allowed_origins: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, chrome-extension://ID or moz-extension://*, or self, titles, null, *",
            origin,
        ),
        ["self", "titles", "chrome-extension://*", "moz-extension://*", "safari-web-extension://*"],
        "Web origins whose pages may use this server. self is this server, titles the sites of titles.allowed (not its *), "
        "moz-extension://* any of a scheme, * any. null is what pages without an origin say. Programs that are no web pages "
        "say nothing, and are let in.",
    )
    trusted_proxies: int = key(
        proxies(10),
        0,
        "How many reverse proxies stand before this server and add to X-Forwarded-For. With 0 the header is ignored. "
        "unknown: clients come through proxies of which nothing is known, and rules by address apply to none of them. "
        "Proxies that speak the PROXY protocol are not counted: for them, put haproxy: before the endpoint in `port`.",
    )
    metrics_token: str = key(
        text("at least 16 letters, digits and other visible characters", r"(?:[\x21-\x7e]{16,1024})?", secret=True),
        "",
        "The bearer token that /metrics wants to see. Empty: whoever reaches the port can read the figures.",
    )
    short_id_wait: float = key(
        duration("0s", "30s"), "2s", "How long the question for a room's invite code waits for the room to be created."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may join."""

    mode: str = key(
        choice("open", "token"),
        "open",
        "open: anybody, into any room. token: only with a signed token (JWT) for the room, in each JOIN. The existing "
        "extension sends none.",
    )
    keys: tuple[str, ...] = key(
        texts("paths of files (*.secret, *.pem, *.json), or of directories with such files"),
        [],
        "What tokens are checked with. NAME.secret: a secret of 32 bytes or more (HS256). NAME.pem: a public key, RSA "
        "(RS256) or Ed25519 (EdDSA). *.json: a JWK Set. A token names its key in `kid`: NAME, or the JWK's. The files are "
        "read again when they change, and on SIGHUP.",
    )
    audience: str = key(text("the audience of tokens", ".+"), "tandemd", "What `aud` of a token must be, or contain.")
    leeway: float = key(
        duration("0s", "10m"), "30s", "How far the clock of whoever made a token may differ from this server's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSettings:
    """What may be watched."""

    allowed: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, URLs with a path that a title's must begin with, or *",
            lambda entry: AllowedTitles((entry,)),
        ),
        [*(f"https://www.netflix.com/{path}" for path in ("watch", "title", "browse", "latest", "search")), CLIP_URL],
        "URLs of titles that a room may show: origins (https://www.netflix.com), URLs with a path that the title's "
        f"must begin with, or * for any http or https URL. {CLIP_URL} stands for the party page's own clip.",
    )
