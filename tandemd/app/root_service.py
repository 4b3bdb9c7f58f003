"""The top service, which twistd starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..util.services import OrderedMultiService
from .log_observer import LineObserver, install


class RootService(OrderedMultiService):
    """Holds all services of a node, and makes twistd log through the node's observer.

    observer: None keeps twistd's own. For the other arguments see `OrderedMultiService`.
    """

    def __init__(self, reactor: Any, observer: LineObserver | None, exit: Callable[[int], object] = os._exit):
        super().__init__(reactor, exit)
        self._observer = observer

    def setServiceParent(self, parent: Any) -> None:
        # twistd starts to log right after this call, so a later one is too late.
        if self._observer is not None:
            install(parent, self._observer)
        super().setServiceParent(parent)
