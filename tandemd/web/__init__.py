"""HTTP on the port of the WebSocket: health, figures, invite links, the party page. It knows no rules."""

from .addresses import Addresses, addresses_mean_nothing, client_address
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
    "addresses_mean_nothing",
    "client_address",
    "root_resource",
]
