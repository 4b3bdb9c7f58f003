"""The sections about clients: HTTP, auth tokens and titles."""

from __future__ import annotations

from dataclasses import dataclass

from ..rules.local_titles import CLIP_URL, FILE_URL
from ..rules.title_allowlist import TitleAllowlist as AllowedTitles
from .declaration import key
from .value_types import choice, duration, origin, proxies, text, texts, url, without_scheme


def title(written: str) -> str:
    """Return an entry of `titles.allowed`. Raises ValueError."""
    try:
        AllowedTitles((written,))
    except ValueError:
        raise without_scheme(written) from None
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """HTTP, on the same port as the WebSocket."""

    redirect_target: str = key(
        text("an absolute http(s) URL, or / for the party page", r"/|https?://[^\s/?#]+[^\s?#]*"),
        "https://www.netflix.com",
        "The target of invite links. / is this server's party page.",
    )
    invite_base_url: str = key(
        url("http", "https", query=False),
        "",
        "The beginning of invite links, such as https://party.example.org. Empty: the address that the client used.",
    )
    allowed_origins: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, chrome-extension://ID or moz-extension://*, or self, titles, null, *",
            origin,
        ),
        ["self", "titles", "chrome-extension://*", "moz-extension://*", "safari-web-extension://*"],
        "Web origins whose pages may use this server. self is this server, titles the sites of titles.allowed (not its *), "
        "moz-extension://* any of a scheme, * any. null is the origin of pages without one. Programs that are no web "
        "pages send no origin, and the server accepts them.",
    )
    trusted_proxies: int = key(
        proxies(10),
        0,
        "The number of reverse proxies before this server that add to X-Forwarded-For. 0 ignores the header. "
        "unknown: clients connect through unknown proxies, and no rule by address applies to them. "
        "Do not count proxies with the PROXY protocol: for them, put haproxy: before the endpoint in `port`.",
    )
    metrics_token: str = key(
        text("at least 16 letters, digits and other visible characters", r"(?:[\x21-\x7e]{16,1024})?", secret=True),
        "",
        "The bearer token for /metrics. Empty: each client that reaches the port can read the metrics.",
    )
    short_id_wait: float = key(
        duration("0s", "30s"), "2s", "How long a request for a room's invite code waits for the creation of the room."
    )
    videos_dir: str = key(
        text("the path of a directory"),
        "",
        "A directory with films that the party page offers, and serves at /videos. ~ is the home directory. The server "
        "follows no symbolic links in it, and serves no hidden files. Empty: no such films.",
    )
    videos_access: str = key(
        choice("anyone", "members"),
        "anyone",
        "anyone: each client that reaches the server may list and load the films of videos_dir. members: only members of a "
        "room. Use members together with auth.mode: token, because with auth.mode: open each client may start a room.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Authentication of JOINs."""

    mode: str = key(
        choice("open", "token"),
        "open",
        "open: each client may join each room. token: each JOIN needs a signed token (JWT) for the room. The existing "
        "extension sends none.",
    )
    keys: tuple[str, ...] = key(
        texts("paths of files (*.secret, *.pem, *.json), or of directories with such files"),
        [],
        "The keys to check tokens with. NAME.secret: a secret of 32 bytes or more (HS256). NAME.pem: a public key, RSA "
        "(RS256) or Ed25519 (EdDSA). *.json: a JWK Set. A token names its key in `kid`: NAME, or the JWK's. The node "
        "reads the files again when they change, and on SIGHUP.",
    )
    audience: str = key(
        text("the audience of tokens", ".+"), "tandemd", "The required `aud` of a token, or one of its items."
    )
    leeway: float = key(
        duration("0s", "10m"), "30s", "Tolerated difference between the clocks of the token's issuer and this server."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSettings:
    """Allowed titles."""

    allowed: tuple[str, ...] = key(
        texts(
            "origins such as https://www.netflix.com, URLs with a path that a title's must begin with, https://* or *",
            title,
            least=1,
        ),
        [
            *(f"https://www.netflix.com/{path}" for path in ("watch", "title", "browse", "latest", "search")),
            CLIP_URL,
            FILE_URL,
        ],
        "URLs of titles that a room may show: origins (https://www.netflix.com), URLs whose path begins the title's path, "
        f"https://* for any https URL, or * for any http or https URL. {CLIP_URL} stands for the party page's own clip, "
        f"{FILE_URL} for files of which each member opens its own copy. `make run` sets https://* unless you name others.",
    )
