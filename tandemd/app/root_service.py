"""The one service that twistd is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..util.services import OrderedMultiService
from .log_observer import LineObserver, install


class RootService(OrderedMultiService):
    """Holds all services of a node, and has twistd log through our observer.

    observer: None leaves twistd's own. For the other arguments see `OrderedMultiService`.
    """

    def __init__(self, reactor: Any, observer: LineObserver | None, exit: Callable[[int], object] = os._exit):
        super().__init__(reactor, exit)
        self._observer = observer

    def setServiceParent(self, parent: Any) -> None:
        # twistd begins to log right after this; there is no later moment.
        if self._observer is not None:
            install(parent, self._observer)
        super().setServiceParent(parent)
