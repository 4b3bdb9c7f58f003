"""Settings of the HTTP server."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from .client_config import ClientConfig


class WebSettings(Struct, frozen=True):
    """Settings of the HTTP endpoints. A setting that is no configuration key is described here.

    page_directory: the files of the party page.
    client_directory: the files of the client library.
    titles: the sites from which the page may play.
    admin_token: the bearer token of /admin; '': no /admin.
    metrics_token: the bearer token of /metrics; '': none is needed.
    hsts: the seconds of Strict-Transport-Security on TLS connections; 0: no such header.
    client_config: the answer of /api/config.
    """

    node_id: str
    version: str
    page_directory: str
    client_directory: str
    titles: Sequence[str]
    redirect_target: str
    invite_base_url: str
    short_id_wait: float
    videos_access: str
    code_lookups: int
    code_lookups_total: int
    admin_token: str
    metrics_token: str
    hsts: float
    client_config: ClientConfig
