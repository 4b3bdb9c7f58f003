"""Redis in memory: the commands of fakeredis behind a small endpoint that speaks RESP, on a machine of the world."""

from __future__ import annotations

import copy
import functools
import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import hiredis
from fakeredis import FakeServer
from fakeredis import _msgs as msgs
from fakeredis._commands import Key
from fakeredis._core import CommandItem
from fakeredis._helpers import NoResponse, SimpleError, SimpleString
from fakeredis._socket import FakeSocket
from fakeredis._socket._resp import convert_to_resp2, extract_command
from fakeredis.commands_mixins.scripting_mixin import LUA_MODULE, _convert_redis_arg
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from .world import EPOCH, Call, Machine, World

OOM = "OOM command not allowed when used memory > 'maxmemory'."
NEED_MEMORY = frozenset(
    ("set", "hset", "sadd", "zadd", "xadd", "rpush", "xgroup create", "hincrby", "incrby", "append", "lpush")
)
"""Commands that a server without memory refuses."""
FREE_MEMORY = frozenset(
    ("del", "srem", "hdel", "zrem", "xdel", "xtrim", "ltrim", "lrem", "xack", "expire", "xgroup delconsumer")
)
"""Commands that write, and that it carries out."""


class _Subscribers(dict[Any, None]):
    """A set in the order of subscription, instead of fakeredis' set in the order of addresses."""

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class _Plan:
    """The conversion of the arguments of a command, for one number of them; see `Signature.apply` of fakeredis."""

    GO_ON = object()

    def __init__(self, signature: Any, arguments: list[Any], version: Any):
        signature.check_arity(arguments, version)
        types = list(signature.fixed)
        while len(types) < len(arguments):
            types += signature.repeat
        numbered = list(enumerate(types[: len(arguments)]))
        self._keys = [(at, type_.type_, type_.missing_return) for at, type_ in numbered if isinstance(type_, Key)]
        self._others = [
            (at, type_.decode) for at, type_ in numbered if not isinstance(type_, Key) and type_ is not bytes
        ]
        self._creates = msgs.FLAG_DO_NOT_CREATE not in signature.flags

    def apply(self, arguments: list[Any], db: Any, items: list[CommandItem]) -> tuple[Any, list[Any]]:
        """Append the keys to `items`. Return GO_ON and the converted arguments, or the result of the command."""
        converted = list(arguments)
        for at, _, missing in self._keys:
            if missing is not Key.UNSPECIFIED and converted[at] not in db:
                return missing, converted
        for at, decode in self._others:
            converted[at] = decode(converted[at])
        for at, type_, _ in self._keys:
            item = db.get(converted[at])
            default = None
            if type_ is not None:
                if item is None:
                    if self._creates and type_ is not bytes:
                        default = type_()
                elif type(item.value) is not type_:
                    raise SimpleError(msgs.WRONGTYPE_MSG)
            converted[at] = CommandItem(converted[at], db, item, default=default)
            items.append(converted[at])
        return self.GO_ON, converted


_PLANS: dict[tuple[str, int], _Plan] = {}
_COMMANDS: dict[bytes, tuple[str, Any]] = {}
"""Names and signatures of the commands that have no subcommands, by the words for them."""
_PLAIN = frozenset((bytes, int, type(None), SimpleString, SimpleError, NoResponse))


class _Socket(FakeSocket):
    """The state of one connection to Redis, and the commands."""

    def __init__(self, server: FakeServer, redis: Redis, respond: Callable[[Any], None]):
        super().__init__(server, 0, client_class=type(self))
        self._redis = redis
        self._respond = respond
        self._has_written = False
        self.waiting: tuple[Callable[[bool], Any], Callable[[Any], Any] | None, float] | None = None

    def put_response(self, msg: Any) -> None:
        self._respond(msg)

    def smembers(self, key: CommandItem) -> list[bytes]:
        """Return the members in an order that is the same in each process."""
        return sorted(key.value)

    def execute(self, fields: list[bytes]) -> Any:
        """Return the answer to a command; NoResponse for none yet."""
        server = self._server
        self._has_written = False
        name = ""
        try:
            name, function, signature, arguments = self._looked_up(fields)
            if self._redis.full and name in NEED_MEMORY:
                raise SimpleError(OOM)
            now = self._redis.time()
            with server.lock:
                for db in server.dbs.values():
                    db.time = now
                return self._run_command(function, signature, arguments, False)
        except SimpleError as error:
            if name == "xreadgroup" and error.value.startswith(msgs.XGROUP_KEY_NOT_FOUND_MSG[:40]):
                return SimpleError("NOGROUP No such key or consumer group in XREADGROUP with GROUP option")
            return error

    def _looked_up(self, words: list[bytes]) -> tuple[str, Any, Any, list[bytes]]:
        """Return the name of a command, its function, signature and arguments."""
        known = _COMMANDS.get(words[0])
        if known is not None:
            return known[0], getattr(self, known[1].func_name), known[1], words[1:]
        name, arguments = extract_command(words)
        function, signature = self._name_to_func(name)
        if " " not in name:
            _COMMANDS[words[0]] = name, signature
        return name, function, signature, arguments

    def _run_command(self, func: Any, sig: Any, args: list[Any], from_script: bool) -> Any:
        """Do as fakeredis, without keyspace notifications, and with the types of arguments looked up once."""
        items: list[CommandItem] = []
        try:
            key = sig.name, len(args)
            plan = _PLANS.get(key) or _PLANS.setdefault(key, _Plan(sig, args, self.version))
            if from_script and msgs.FLAG_NO_SCRIPT in sig.flags:
                raise SimpleError(msgs.COMMAND_IN_SCRIPT_MSG)
            if self._pubsub and sig.name not in self.ACCEPTED_COMMANDS_WHILE_PUBSUB:
                raise SimpleError(msgs.BAD_COMMAND_IN_PUBSUB_MSG)
            found, converted = plan.apply(args, self._db, items)
            if found is _Plan.GO_ON:
                found = func(*converted)
                if type(found) not in _PLAIN:
                    found = convert_to_resp2(found)
        except SimpleError as error:
            found = error
        for item in items:
            if item._modified or item._expireat_modified:
                item.writeback(remove_empty_val=msgs.FLAG_LEAVE_EMPTY_VAL not in sig.flags)
        return found

    def _blocking(
        self, timeout: float | None, func: Callable[[bool], Any], shape: Callable[[Any], Any] | None = None
    ) -> Any:
        found = func(True)
        if found is not None:
            return found if shape is None else shape(found)
        self.waiting = func, shape, timeout or 0.0
        return NoResponse()

    # -- scripts: each is compiled once, and the runtime serves all servers of the process

    def _get_server_runtime(self, server: FakeServer) -> Any:
        if _Runtime.lua is None:
            owner = FakeServer(version=(7,))  # the runtime refers to it as long as the process lives
            _Runtime.lua = super()._get_server_runtime(owner)
            _Runtime.attributes = {name: value for name, value in vars(owner).items() if name.startswith("_lua")}
        if not hasattr(server, "_lua_runtime"):
            vars(server).update(_Runtime.attributes)
        return _Runtime.lua

    def eval(self, script: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        server = cast(Any, self._server)
        sha = _sha(script)
        server.script_cache[sha] = script
        lua = _Runtime.lua if hasattr(server, "_lua_runtime") else self._get_server_runtime(self._server)
        function = _Runtime.compiled.get(sha)
        if function is None:
            function = _Runtime.compiled[sha] = lua.compile(script)
        server._lua_current_socket[0] = self
        self._script_resp = 2
        server._lua_set_keys_argv(
            lua.table_from(keys_and_args[:numkeys]), lua.table_from(keys_and_args[numkeys:])
        )  # fmt: skip
        try:
            result = function()
        except LUA_MODULE.LuaError as error:
            raise SimpleError(msgs.SCRIPT_ERROR_MSG.format(sha.decode(), error))
        finally:
            self._script_resp = None
            server._lua_current_socket[0] = None
        return self._convert_lua_result(result, nested=False)

    def script_load(self, *args: bytes) -> bytes:
        (script,) = args
        self._server.script_cache[_sha(script)] = script
        return _sha(script)

    def evalsha(self, sha1: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        script = self._server.script_cache.get(sha1)
        if script is None:
            raise SimpleError(msgs.NO_MATCHING_SCRIPT_MSG)
        return self.eval(script, numkeys, *keys_and_args)

    def _lua_redis_call(self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any) -> Any:
        words = [op, *[arg if type(arg) is bytes else _convert_redis_arg(arg) for arg in args]]
        name, function, signature, arguments = self._looked_up(words)
        if name in NEED_MEMORY:
            if self._redis.full and not self._has_written:
                raise SimpleError(OOM)
            self._has_written = True
        elif name in FREE_MEMORY:
            self._has_written = True
        result = self._run_command(function, signature, arguments, True)
        if type(result) is bytes or type(result) is int:
            return result
        return self._convert_redis_result(lua_runtime, result)

    def _lua_redis_pcall(self, lua_runtime: Any, expected_globals: set[Any], op: bytes, *args: Any) -> Any:
        try:
            return self._lua_redis_call(lua_runtime, expected_globals, op, *args)
        except SimpleError as error:
            return lua_runtime.table_from({b"err": error.value.encode()})  # fakeredis makes an object of Python of it
        except AttributeError:  # fakeredis reads a group of a key that is no stream
            return lua_runtime.table_from({b"err": msgs.WRONGTYPE_MSG.encode()})


@functools.cache
def _sha(script: bytes) -> bytes:
    return hashlib.sha1(script).hexdigest().encode()


class _Runtime:
    """The Lua runtime of the process."""

    lua: Any = None
    attributes: dict[str, Any] = {}
    compiled: dict[bytes, Any] = {}


def encoded(answer: Any) -> bytes:
    """Return an answer in RESP 2."""
    if type(answer) is bytes:
        return b"$%d\r\n%b\r\n" % (len(answer), answer)
    if type(answer) is int:
        return b":%d\r\n" % answer
    if answer is None:
        return b"*-1\r\n"
    if isinstance(answer, list | tuple):
        return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))
    if isinstance(answer, SimpleError):
        return b"-%b\r\n" % " ".join(answer.value.split()).encode()
    if isinstance(answer, SimpleString):
        return b"+%b\r\n" % answer.value
    raise TypeError(f"no answer of Redis: {answer!r}")


class _Connection(Protocol):
    """A connection to Redis, as the server has it."""

    transport: Any
    factory: Redis

    def connectionMade(self) -> None:
        self._reader = hiredis.Reader()
        self._commands: deque[list[bytes]] = deque()
        self._timer: Call | None = None
        self.socket = _Socket(self.factory.server, self.factory, self._respond)
        self.factory.connections[self] = None

    def dataReceived(self, data: bytes) -> None:
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            self._commands.append(words)
        self.go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.pop(self, None)
        self._commands.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.socket.waiting = None
        self.socket._cleanup(self.factory.server)

    def go_on(self) -> None:
        """Carry out the commands that have arrived, in order."""
        redis = self.factory
        while self._commands and self.socket.waiting is None and not redis.paused:
            words = self._commands.popleft()
            answer = redis.execute(self.socket, words)
            if not isinstance(answer, NoResponse):
                self._respond(answer)
            elif self.socket.waiting is not None:
                self._timer = redis.machine.callLater(self.socket.waiting[2], self._expired)
        redis.serve_waiting()

    def try_again(self) -> None:
        """Answer a command that waits for data, if the data has come."""
        if self.socket.waiting is None:
            return
        func, shape, _ = self.socket.waiting
        with self.factory.server.lock:
            try:
                found = func(False)
                answer = None if found is None else found if shape is None else shape(found)
            except SimpleError as error:
                answer = error
        if answer is not None:
            self._answered(answer)

    def _expired(self) -> None:
        if self.socket.waiting is not None:
            shape = self.socket.waiting[1]
            self._answered(None if shape is None else shape(None))

    def _answered(self, answer: Any) -> None:
        self.socket.waiting = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._respond(answer)
        self.go_on()

    def _respond(self, answer: Any) -> None:
        self.transport.write(encoded(_plain(answer)))


def _plain(answer: Any) -> Any:
    """Return an answer without the dictionaries that fakeredis uses for streams."""
    if isinstance(answer, dict):
        return [[key, _plain(value)] for key, value in answer.items()]
    return answer


class Redis(Factory):
    """A Redis server, which can be restarted.

    full: whether it has no memory left. paused: whether it takes commands and carries none out.
    on_command: is called with each command after its execution. losses: how often it may have lost data.
    """

    noisy = False
    protocol = _Connection  # type: ignore[assignment]

    def __init__(self, world: World, machine: Machine, address: int | str = "/redis"):
        self.world = world
        self.machine = machine
        self.address = address
        self.full = False
        self.paused = False
        self.clock_offset = 0.0
        self.connections: dict[_Connection, None] = {}
        self.commands = 0
        self.losses = 0
        self.on_command: Callable[[list[bytes], Any], None] = lambda words, answer: None
        self._random = world.random("redis")
        self._kept: dict[bytes, Any] = {}
        self._dirty = False
        self._port: Any = None
        self.role: list[Any] = [b"master", 0, []]
        self.server: FakeServer
        self.start({})

    def time(self) -> float:
        """Return the time of the server, in seconds since 1970."""
        return EPOCH + self.world.now + self.clock_offset

    # -- life

    def start(self, data: dict[bytes, Any], address: int | str = "") -> None:
        """Start with some data. address: its new address, if it has one."""
        self.address = address or self.address
        self.server = FakeServer(version=(7,))
        self.server.subscribers = cast(Any, defaultdict(_Subscribers))
        self.server.psubscribers = cast(Any, defaultdict(_Subscribers))
        db = self.server.dbs[0]
        for key, item in data.items():
            db[key] = item
        db.add_change_callback(self._changed)
        self.losses += 1
        self.run_id = self._random.randbytes(20).hex()
        self._started = self.time()
        self.paused = False
        self._port = self.machine.listenTCP(cast(Any, self.address), self)

    def stop(self) -> None:
        """End the server: all connections are lost."""
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        for connection in list(self.connections):
            connection.transport.abortConnection()
            connection._commands.clear()

    @property
    def up(self) -> bool:
        return self._port is not None

    def data(self) -> dict[bytes, Any]:
        """Return a copy of all data."""
        return copy.deepcopy(dict(self.server.dbs[0]._dict))

    def keep(self) -> None:
        """Keep a copy of the data for `older`."""
        self._kept = self.data()

    def older(self) -> dict[bytes, Any]:
        """Return the data of the last `keep`."""
        return copy.deepcopy(self._kept)

    def flush_scripts(self) -> None:
        self.server.script_cache = {}

    def flush_all(self) -> None:
        """Delete all data, without a loss of connections."""
        self.losses += 1
        with self.server.lock:
            self.server.dbs[0].clear()

    def kill_subscriptions(self) -> None:
        for connection in list(self.connections):
            if connection.socket._pubsub:
                connection.transport.abortConnection()

    def go_on(self) -> None:
        """Carry out the commands that have arrived meanwhile."""
        self.paused = False
        for connection in list(self.connections):
            connection.go_on()

    # -- commands

    def execute(self, socket: _Socket, words: list[bytes]) -> Any:
        self.commands += 1
        name = words[0].upper()
        if name == b"INFO":
            answer: Any = self._info()
        elif name == b"ROLE":
            answer = self.role
        else:
            answer = socket.execute(words)
        self.on_command(words, answer)
        return answer

    def ask(self, *words: bytes) -> Any:
        """Return the answer to a command, at once and without a connection."""
        socket = _Socket(self.server, self, lambda answer: None)
        answer = socket.execute(list(words))
        self.server.sockets.remove(socket)
        return _plain(answer)

    def _info(self) -> bytes:
        used, most = (2_000_000, 1_000_000) if self.full else (1_000_000, 0)
        return (
            f"redis_version:7.2.4\r\nrun_id:{self.run_id}\r\nuptime_in_seconds:{int(self.time() - self._started)}\r\n"
            f"cluster_enabled:0\r\nmin_slaves_good_slaves:1\r\nused_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:noeviction\r\n"
        ).encode()

    def _changed(self) -> None:
        self._dirty = True

    def serve_waiting(self) -> None:
        """Answer the commands that wait for data."""
        while self._dirty:
            self._dirty = False
            for connection in self._waiting():
                connection.try_again()

    def _waiting(self) -> Iterator[_Connection]:
        return iter([connection for connection in self.connections if connection.socket.waiting is not None])
