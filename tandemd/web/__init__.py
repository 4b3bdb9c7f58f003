"""HTTP on the port of the WebSocket: health, figures, invite links, the party page. It knows no rules."""

from .addresses import Addresses, client_address
from .cors import Cors
from .door import Door, DoorSettings
from .quota import Quota
from .root import root_resource
from .shortcut import Shortcut
from .site import TandemSite

__all__ = [
    "Addresses",
    "Cors",
    "Door",
    "DoorSettings",
    "Quota",
    "Shortcut",
    "TandemSite",
    "client_address",
    "root_resource",
]
