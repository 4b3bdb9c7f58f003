"""The configurations of proxies in etc/nginx and docs/deployment.md, with a node behind them, also below a path."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import socket
import subprocess
import textwrap
from typing import Any
from urllib.parse import urljoin

import treq
import yaml
from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import SkipTest

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


def below_a_path(text: str, node: int, port: int) -> str:
    """Return the example configuration with one node, and with a path, as docs/deployment.md describes."""
    text = re.sub(r"(?m)^    server 127\.0\.0\.1:4002.*\n", "", text).replace("127.0.0.1:4001", f"127.0.0.1:{node}")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};")
    assert "location / {" in text and "proxy_pass http://tandemd;" in text
    return text.replace("location / {", "location /party/ {").replace("http://tandemd;", "http://tandemd/;")


def example(heading: str) -> str:
    """Return the first indented block below a heading of docs/deployment.md."""
    text = (ROOT / "docs/deployment.md").read_text()
    section = text[text.index(f"\n### {heading}\n") :]
    block = re.search(r"(?m)(?:^    .*\n(?:\n(?=    ))?)+", section)
    assert block is not None
    return textwrap.dedent(block[0])


class ProxyTestCase(RawTestCase):
    """Has a proxy, which is gone when a test ends."""

    async def start_proxy(self, port: int, home: pathlib.Path, *command: str) -> None:
        """Start a program, and wait until it listens."""
        environ = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        proxy = subprocess.Popen(
            command, env=environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(proxy.wait, PATIENCE_SECONDS)
        self.addCleanup(proxy.kill)

        def listens() -> bool:
            self.assertIsNone(proxy.poll(), "the proxy ended by itself")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await eventually(reactor, "the proxy listens", listens)

    async def enter(self, url: str, port: int) -> Any:
        """Return a client that has joined a room through the proxy."""
        factory = WebSocketClientFactory(url, reactor=reactor)
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=PATIENCE_SECONDS)
        factory.noisy = False
        client: Any = await HostnameEndpoint(reactor, "127.0.0.1", port).connect(factory)
        await client.opened
        await client.join("room", "ann")
        return client


class CaddyTests(ProxyTestCase):
    def test_blocks_are_complete(self) -> None:
        depth = 0
        for line in example("Caddy").splitlines():
            depth += line.endswith("{") - (line.strip() == "}")
            self.assertGreaterEqual(depth, 0, line)
        self.assertEqual(depth, 0)

    async def test_party(self) -> None:
        caddy = os.environ.get("TANDEMD_TEST_CADDY") or shutil.which("caddy")
        if caddy is None:
            raise SkipTest("no caddy: install the package caddy, or name the program in TANDEMD_TEST_CADDY")
        daemon = await self.running(TANDEMD_WEB_TRUSTED_PROXIES="1")
        port, home = free_port(), pathlib.Path(self.mktemp()).absolute()
        home.mkdir()
        text = example("Caddy").replace("party.example.org {", f"http://127.0.0.1:{port} {{")
        text = text.replace("127.0.0.1:4001 127.0.0.1:4002", f"127.0.0.1:{daemon.port}")
        (home / "Caddyfile").write_text("{\n    admin off\n}\n" + text)
        await self.start_proxy(port, home, caddy, "run", "--config", str(home / "Caddyfile"), "--adapter", "caddyfile")
        url = f"http://127.0.0.1:{port}"
        for path, status in (("/health", 200), ("/", 200), ("/metrics", 404), ("/admin/v1/node", 404)):
            self.assertEqual((await self.get(url + path))[0], status, path)
        client = await self.enter(f"ws://127.0.0.1:{port}/ws", port)
        client.sendClose()
        await client.closed


class TraefikTests(ProxyTestCase):
    def test_names_lead_to_what_is_there(self) -> None:
        http = yaml.safe_load(example("Traefik"))["http"]
        (router,) = http["routers"].values()
        service = http["services"][router["service"]]["loadBalancer"]
        self.assertEqual(
            router["rule"], "Host(`party.example.org`) && !PathPrefix(`/metrics`) && !PathPrefix(`/admin`)"
        )
        self.assertEqual([server["url"] for server in service["servers"]], [f"http://127.0.0.1:400{n}" for n in (1, 2)])
        self.assertEqual(service["healthCheck"]["path"], "/health/ready")
        self.assertNotIn("sticky", service)


class BelowAPathTests(ProxyTestCase):
    async def proxied(self) -> tuple[int, int]:
        """Return the ports of nginx and of the node behind it."""
        daemon = await self.running(
            TANDEMD_WEB_TRUSTED_PROXIES="1", TANDEMD_WEB_REDIRECT_TARGET="/", TANDEMD_WEB_SHORT_ID_WAIT="0s"
        )
        port, home = free_port(), pathlib.Path(self.mktemp()).absolute()
        home.mkdir()
        documented = (ROOT / "etc/nginx/tandemd.conf").read_text()
        conf = NGINX_CONF.format(example=below_a_path(documented, daemon.port, port))
        (home / "nginx.conf").write_text(conf)
        await self.start_proxy(
            port, home, nginx_program(), "-p", str(home), "-e", "error.log", "-c", str(home / "nginx.conf")
        )
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
            pattern = r"""(?:href|src)="([^"#]+)"|(?:from |import\()'(\.[^']+)'|serverUrl\('(page/[^']*)'"""
            written = re.findall(pattern, text)
            for element, module, server in written:
                target = urljoin(base, server) if server else urljoin(url, element or module)
                if target not in found | set(waiting) and target.startswith(f"http://127.0.0.1:{port}"):
                    waiting.append(target)
        wanted = {f"{base}page/style.css", f"{base}page/clip.mp4"}
        for directory in ("page", "client"):
            names = os.listdir(ROOT / "tandemd/web" / directory)
            wanted |= {f"{base}{directory}/{name}" for name in names if name.endswith(".js")}
        wanted.remove(f"{base}client/index.js")  # It is for the users of the library; the page loads its parts.
        self.assertEqual(wanted - found, set())

    async def test_room_and_invite_link(self) -> None:
        port, _ = await self.proxied()
        base = f"http://127.0.0.1:{port}/party/"
        client = await self.enter(f"ws://127.0.0.1:{port}/party/ws", port)
        invite = await (await treq.get(f"{base}api/short-id/room", persistent=False)).json()
        for tail in ("", "/", "/1234", "/1234/"):
            answer = await treq.get(f"{base}room/{invite['shortId']}{tail}", allow_redirects=False, persistent=False)
            location = urljoin(f"{base}room/{invite['shortId']}{tail}", answer.headers.getRawHeaders("location")[0])
            self.assertEqual(location.partition("&pin=")[0], f"{base}?tandemRoom=room")
        client.sendClose()
        await client.closed
