// The errors of the library. Every one has a `code` for programs and a `message` for people.

export class TandemError extends Error {
  // The message for members, where the server or the library knows one.
  constructor(code, message, options) {
    super(message, options);
    this.name = this.constructor.name;
    this.code = code;
  }
}

// The server has rejected a command. code: as in the reference of the protocol, such as "forbidden".
export class CommandError extends TandemError {
  constructor({ code, message, retryAfterMs, limit }) {
    super(code, message);
    this.retryAfterMs = retryAfterMs;
    this.limit = limit;
  }
}

/*
 * The connection is not in the room and will not come back there by itself. Codes: "left", "detached" (another connection
 * speaks for this member), "kicked", "banned", "closed" (by the operator), "offline" (not started), and those of an ERROR
 * that answers JOIN. reason: the text of the host or operator. wasIn: whether the member was in the room before.
 */
export class RoomError extends TandemError {
  constructor({ code, message, reason, retryAfterMs, limit, wasIn = false }) {
    super(code, message);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.limit = limit;
    this.wasIn = wasIn;
  }
}

/*
 * No answer came in time. Codes: "lost" (the connection was lost and did not come back), "no_answer" (the server did not
 * answer on a living connection), "not_ready" (see PlaybackController.hold). The server may have carried out the command.
 */
export class TimeoutError extends TandemError {}

// The server has sent something that is no message of the protocol. Code: "bad_answer". The library goes on.
export class ProtocolError extends TandemError {
  constructor(message, options) {
    super('bad_answer', message, options);
  }
}

// This program lacks something that the library cannot do without. Code: "unsupported".
export class UnsupportedError extends TandemError {
  constructor(message, options) {
    super('unsupported', message, options);
  }
}
