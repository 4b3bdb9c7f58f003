"""Limits of connections, rooms and addresses. The package knows neither HTTP nor WebSocket, and takes the clock as an argument.

May import: messages, metrics, errors.
"""

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
