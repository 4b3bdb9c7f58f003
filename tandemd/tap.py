"""`twistd tandemd`: the command line. Only this module imports the reactor."""

from __future__ import annotations

import contextlib
import os
import time

from twisted.application.service import IService
from twisted.internet.base import ReactorBase
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.main import installReactor
from twisted.python import usage

from .app.environment import Environment
from .app.log_observer import FORMATS, LineObserver, destination
from .app.node import Node
from .app.process_tuning import fit_to_fd_limit, preallocate_fd_table, raise_fd_limit
from .app.root_service import RootService
from .app.runtime_metrics import GcPause
from .app.runtime_tuning import RuntimeTuning
from .app.state_dir import claim
from .app.systemd import SystemdNotifier
from .archive.errors import ArchiveError
from .archive.factory import prepare
from .config import ConfigError, load
from .util.services import StartupError


class Options(usage.Options):
    """The options of `twistd tandemd`."""

    synopsis = "[options]"
    longdesc = "A watch-party server. Every key of the configuration is documented in etc/tandemd.yaml."
    optParameters = [
        ["config", "c", None, "The configuration file (YAML)."],
        ["port", "p", None, "The port to listen on: a number, or a Twisted server endpoint such as tcp:4001."],
        ["state-dir", None, None, "The directory for the node's files."],
        ["log-level", None, None, "debug, info, warn, error or critical."],
        ["log-format", None, None, "json or text."],
    ]
    _keys = {"port": "port", "state-dir": "state_dir", "log-level": "log.level", "log-format": "log.format"}

    def overrides(self) -> dict[str, str]:
        """Return the given options by the path of the configuration key."""
        return {path: self[option] for option, path in self._keys.items() if self[option] is not None}


def _install_reactor() -> None:
    """Install a reactor whose clock is monotonic, unless the process has a reactor already (`twistd --reactor`)."""
    chosen: type[ReactorBase]
    try:
        from .app.fair_reactor import FairReactor as chosen  # noqa: PLC0415
    except ImportError:  # a system without epoll
        from twisted.internet.selectreactor import SelectReactor  # noqa: PLC0415

        class chosen(SelectReactor):  # type: ignore[no-redef]
            seconds = staticmethod(time.monotonic)

    with contextlib.suppress(ReactorAlreadyInstalledError):
        installReactor(chosen())


def makeService(options: Options) -> IService:
    """Return the node's top service, ready to start. If the node cannot be made, end the process with one line of error."""
    _install_reactor()
    from twisted.internet import reactor  # noqa: PLC0415  # the installed one

    try:
        config = fit_to_fd_limit(load(options["config"], os.environ, options.overrides()), raise_fd_limit())
        preallocate_fd_table(config)
        out = destination(options.parent or {})
        observer = None
        if out is not None:
            observer = LineObserver(out, FORMATS[config.log.format], config.log.level, node=config.node_id)
        top = RootService(reactor, observer)
        node = Node(config, reactor, top, Environment())
        GcPause(reactor.seconds, node.metrics.process.gc_pause).setServiceParent(top)
        RuntimeTuning().setServiceParent(top)
        SystemdNotifier(os.environ, reactor, os.getpid(), node.reload, always=node.reloads).setServiceParent(top)
        # All other faults have been found by now, so no start stops half-way.
        claim(config.state_dir)
        prepare(config)
    except (ConfigError, StartupError, ArchiveError) as error:
        raise SystemExit(f"tandemd: {error}") from None
    except OSError as error:
        raise SystemExit(f"tandemd: {error.filename}: {error.strerror}") from None
    return top
