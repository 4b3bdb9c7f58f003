"""How much one connection, one room and one address may ask for. Nothing here knows HTTP or WebSocket; the clock is passed in."""

from .message_rates import MessageLimits, MessageRates, Rate
from .penalties import Penalties
from .scopes import Scope, scopes
from .size_limits import Bounds
from .spending import Meter, Spending, SpendingRates

__all__ = [
    "Bounds",
    "MessageLimits",
    "MessageRates",
    "Meter",
    "Penalties",
    "Rate",
    "Scope",
    "Spending",
    "SpendingRates",
    "scopes",
]
