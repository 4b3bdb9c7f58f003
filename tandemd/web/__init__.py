"""HTTP on the port of the WebSocket: health, figures, invite links, the party page. It knows no rules."""

from .addresses import Addresses, addresses_mean_nothing, client_address
from .root import root_resource
from .site import TandemSite

__all__ = ["Addresses", "TandemSite", "addresses_mean_nothing", "client_address", "root_resource"]
