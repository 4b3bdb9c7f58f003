"""The page, the HTTP interface and the WebSocket below a path of nginx."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import subprocess
from typing import Any
from urllib.parse import urljoin

import treq
from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint

from ..support.daemon_process import ROOT, Client
from ..support.patience import PATIENCE_SECONDS, eventually
from ..support.private_servers import free_port, nginx_program
from ..support.rawclient import RawTestCase

NGINX_CONF = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {example}
}}
"""


def below_a_path(example: str, node: int, port: int) -> str:
    """Return the example configuration with one node, and with a path, as docs/deployment.md describes."""
    example = re.sub(r"(?m)^    server 127\.0\.0\.1:4002.*\n", "", example).replace(
        "127.0.0.1:4001", f"127.0.0.1:{node}"
    )
    example = example.replace("listen 80;", f"listen 127.0.0.1:{port};")
    assert "location / {" in example and "proxy_pass http://tandemd;" in example
    return example.replace("location / {", "location /party/ {").replace("http://tandemd;", "http://tandemd/;")


class BelowAPathTests(RawTestCase):
    async def proxied(self) -> tuple[int, int]:
        """Return the ports of nginx and of the node behind it."""
        daemon = await self.running(
            TANDEMD_WEB_TRUSTED_PROXIES="1", TANDEMD_WEB_REDIRECT_TARGET="/", TANDEMD_WEB_SHORT_ID_WAIT="0s"
        )
        port, home = free_port(), pathlib.Path(self.mktemp()).absolute()
        home.mkdir()
        example = (ROOT / "etc/nginx/tandemd.conf").read_text()
        conf = NGINX_CONF.format(example=below_a_path(example, daemon.port, port))
        (home / "nginx.conf").write_text(conf)
        nginx = subprocess.Popen(
            [nginx_program(), "-p", str(home), "-e", "error.log", "-c", str(home / "nginx.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(nginx.wait, PATIENCE_SECONDS)
        self.addCleanup(nginx.kill)

        def listens() -> bool:
            self.assertIsNone(nginx.poll(), "nginx ended by itself")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await eventually(reactor, "nginx listens", listens)
        return port, daemon.port

    async def test_everything_that_the_page_loads_is_there(self) -> None:
        port, _ = await self.proxied()
        base = f"http://127.0.0.1:{port}/party/"
        waiting, found = [base], set()
        while waiting:
            url = waiting.pop()
            answer = await treq.get(url, persistent=False)
            text = await answer.text(encoding="latin-1")
            self.assertEqual(answer.code, 200, url)
            self.assertTrue(url.startswith(base), url)
            found.add(url)
            # Elements resolve against the page, imports against their module, and serverUrl against the server.
            written = re.findall(r"""(?:href|src)="([^"#]+)"|from '([^']+)'|serverUrl\('(page/[^']*)'""", text)
            for element, module, server in written:
                target = urljoin(base, server) if server else urljoin(url, element or module)
                if target not in found | set(waiting) and target.startswith(f"http://127.0.0.1:{port}"):
                    waiting.append(target)
        modules = [name for name in os.listdir(ROOT / "tandemd/web/page") if name.endswith(".js")]
        self.assertEqual({f"{base}page/{name}" for name in (*modules, "style.css", "clip.mp4")} - found, set())

    async def test_room_and_invite_link(self) -> None:
        port, _ = await self.proxied()
        base = f"http://127.0.0.1:{port}/party/"
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/party/ws", reactor=reactor)
        factory.protocol = Client
        factory.noisy = False
        client: Any = await HostnameEndpoint(reactor, "127.0.0.1", port).connect(factory)
        await client.opened
        await client.join("room", "ann")
        invite = await (await treq.get(f"{base}api/short-id/room", persistent=False)).json()
        for tail in ("", "/", "/1234", "/1234/"):
            answer = await treq.get(f"{base}room/{invite['shortId']}{tail}", allow_redirects=False, persistent=False)
            location = urljoin(f"{base}room/{invite['shortId']}{tail}", answer.headers.getRawHeaders("location")[0])
            self.assertEqual(location.partition("&pin=")[0], f"{base}?tandemRoom=room")
        client.sendClose()
        await client.closed
