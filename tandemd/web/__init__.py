"""HTTP on the port of the WebSocket: health, metrics, status, invite links, administration and the party page.

May import: websocket, interfaces, rules, ratelimit, messages, metrics, errors, util.
"""

from ..ratelimit.connections import ConnectionLimiter, ConnectionLimits
from .client_addresses import Addresses, client_address
from .connection_quota import Quota
from .cors import Cors
from .fast_upgrade import FastUpgrade
from .router import WebServices, root_resource
from .settings import WebSettings
from .site import TandemSite
from .video_files import VideoDirectory
from .video_reader import VideoReader, VideoThreads

__all__ = [
    "Addresses",
    "Cors",
    "ConnectionLimiter",
    "ConnectionLimits",
    "Quota",
    "FastUpgrade",
    "TandemSite",
    "VideoDirectory",
    "VideoReader",
    "VideoThreads",
    "WebServices",
    "WebSettings",
    "client_address",
    "root_resource",
]
