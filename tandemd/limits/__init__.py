"""How much one connection and one address may ask for. Nothing here knows HTTP or WebSocket; the clock is passed in."""

from .bounds import Bounds
from .penalties import Penalties
from .rates import MessageLimits, MessageRates, Rate
from .scopes import Scope, scopes

__all__ = ["Bounds", "MessageLimits", "MessageRates", "Penalties", "Rate", "Scope", "scopes"]
