// The client library of tandemd. See README.md.

export { CallError } from './call-devices.js';
export { CALL_DEFAULTS, Call, signallingOf } from './calls.js';
export { ServerClock } from './clock.js';
export { CONNECTION_DEFAULTS, Connection } from './connection.js';
export { SYNC_DEFAULTS } from './corrections.js';
export { Environment } from './environment.js';
export { Emitter } from './emitter.js';
export { CommandError, ProtocolError, RoomError, TandemError, TimeoutError, UnsupportedError } from './errors.js';
export { PARTY_DEFAULTS, Party } from './party.js';
export { PlaybackController } from './playback.js';
export { Room, positionAt } from './room.js';
