"""HTTP on the port of the WebSocket: health, figures, invite links, the party page. It knows no rules."""

from .addresses import Addresses, client_address
from .door import Door, DoorSettings
from .root import root_resource
from .shortcut import Shortcut
from .site import TandemSite
from .waiting import Waiting

__all__ = [
    "Addresses",
    "Door",
    "DoorSettings",
    "Shortcut",
    "TandemSite",
    "Waiting",
    "client_address",
    "root_resource",
]
