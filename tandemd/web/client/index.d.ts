// The declarations of the client library. All times are milliseconds, all positions are seconds.

import type { ClientMessage, DriftPolicy, ServerAck, ServerMessage } from './messages.js';

export type * from './messages.js';

/** Ends what it was returned for. */
export type End = () => void;

// -- errors

export class TandemError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions);
}

/** The server has rejected a command. */
export class CommandError extends TandemError {
  readonly retryAfterMs?: number;
  readonly limit?: string;
  constructor(error: { code: string; message: string; retryAfterMs?: number; limit?: string });
}

/** The connection is not in the room and does not come back there by itself. */
export class RoomError extends TandemError {
  readonly reason?: string;
  readonly retryAfterMs?: number;
  readonly limit?: string;
  readonly wasIn: boolean;
  constructor(error: {
    code: string;
    message: string;
    reason?: string;
    retryAfterMs?: number;
    limit?: string;
    wasIn?: boolean;
  });
}

/** No answer came in time. The server may have carried out the command. */
export class TimeoutError extends TandemError {
  readonly code: 'lost' | 'no_answer';
}

/** The server has sent something that cannot be understood. */
export class ProtocolError extends TandemError {
  readonly code: 'bad_answer';
  constructor(message: string, options?: ErrorOptions);
}

/** This program lacks something that the library cannot do without. */
export class UnsupportedError extends TandemError {
  readonly code: 'unsupported';
  constructor(message: string, options?: ErrorOptions);
}

// -- environment

export type Area = 'tab' | 'browser';

/** Replacements of globals by their names. */
export interface Abilities {
  WebSocket?: unknown;
  performance?: { now(): number };
  Date?: { now(): number };
  setTimeout?: (run: () => void, ms: number) => any;
  clearTimeout?: (timer: any) => void;
  setInterval?: (run: () => void, ms: number) => any;
  clearInterval?: (timer: any) => void;
  crypto?: unknown;
  sessionStorage?: unknown;
  localStorage?: unknown;
  navigator?: unknown;
  document?: unknown;
  window?: unknown;
  AbortController?: unknown;
}

export class Environment {
  constructor(given?: Abilities);
  elapsedMs(): number;
  setTimeout(run: () => void, ms: number): any;
  clearTimeout(timer: any): void;
  setInterval(run: () => void, ms: number): any;
  clearInterval(timer: any): void;
  openSocket(url: string): any;
  random(): number;
  randomBytes(length: number): Uint8Array;
  randomWord(length: number): string;
  stored(area: Area, key: string): any;
  store(area: Area, key: string, value: unknown): void;
  discard(area: Area, key: string): void;
  holdLock(name: string, withinMs: number): Promise<'held' | 'taken' | 'unknown'>;
  onMediaKeys(handlers: Record<string, () => void>): void;
  isHidden(): boolean;
  onReturn(listener: () => void): End;
  readonly canCall: boolean;
  readonly mediaDevices: MediaDevices | null;
  openPeerConnection(configuration: RTCConfiguration): RTCPeerConnection;
  newMediaStream(): MediaStream;
  onNetwork(listener: () => void): End;
}

// -- events

/** Events: the arguments of the listeners by the names of the events. */
export class Emitter<Events extends { [name: string]: any[] }> {
  on<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => void): End;
  protected emit<Name extends keyof Events>(name: Name, ...values: Events[Name]): void;
}

// -- clock

export class ServerClock {
  smooth: boolean;
  constructor(environment: Environment);
  readonly known: boolean;
  readonly uncertainty: number;
  now(): number;
  at(elapsed: number): number;
  hint(serverTime: number): void;
  sample(trip: { began: number; ended: number; received: number; sent: number }): void;
  forget(): void;
}

// -- connection

export interface ConnectionOptions {
  pingEveryMs: number;
  pongWithinMs: number;
  openWithinMs: number;
  backOffMs: number;
  backOffLimitMs: number;
  commandWithinMs: number;
}

export const CONNECTION_DEFAULTS: Readonly<ConnectionOptions>;

export type State =
  | 'offline'
  | 'connecting'
  | 'joining'
  | 'waiting'
  | 'connected'
  | 'reconnecting'
  | 'refused'
  | 'elsewhere';

export interface JoinFields {
  roomId: string;
  userId: string;
  username?: string;
  pin?: string;
  auth?: string;
  resume?: Version;
  schedules?: boolean;
  calls?: boolean;
}

export class Connection extends Emitter<{
  state: [state: State, error: RoomError | null];
  message: [message: ServerMessage];
  problem: [error: ProtocolError];
}> {
  readonly state: State;
  readonly error: RoomError | null;
  readonly retryAt: number | null;
  readonly token: string;
  constructor(given: {
    url: string;
    join: () => JoinFields;
    clock: ServerClock;
    environment: Environment;
    token?: string;
    options?: Partial<ConnectionOptions>;
  });
  start(): void;
  leave(): void;
  close(): void;
  join(): void;
  retryNow(): void;
  joined(options?: { withinMs?: number }): Promise<void>;
  send(message: ClientMessage): void;
  command(message: ClientMessage, options?: { withinMs?: number }): Promise<ServerAck>;
}

// -- room

export interface Version {
  epoch: number;
  seq: number;
}

/** Where the film is: at `position` at server time `at`, which may be in the future. */
export interface Timeline {
  position: number;
  at: number;
  playing: boolean;
  rate: number;
}

export function positionAt(timeline: Timeline, now: number): number;

export type Line = { userId: string | null; name: string } & (
  | { kind: 'chat'; text: string; at: number }
  | { kind: 'joined' | 'host' | 'gap' }
  | { kind: 'left'; reason?: 'kicked' | 'banned' }
  | { kind: 'control' | 'guest-control'; enabled: boolean }
  | { kind: 'locked'; locked: boolean }
);

export interface Ban {
  userId: string;
  username: string | null;
  byAddress?: boolean;
  until?: number;
}

export type MemberStatus = 'watching' | 'buffering' | 'away';

/** Which part of the room a message was about; '' for none. */
export type Change = 'state' | 'people' | 'title' | 'timeline' | 'hold' | 'chat' | '';

export class Room {
  readonly id: string;
  readonly url: string;
  readonly hostId: string | null;
  readonly guestControl: boolean;
  readonly controllers: Set<string>;
  readonly locked: boolean;
  readonly bans: Ban[];
  readonly users: Map<string, string | null>;
  readonly statuses: Map<string, MemberStatus>;
  readonly inCall: ReadonlyMap<string, boolean | undefined>;
  readonly timeline: Timeline;
  readonly hold: { position: number; playing: boolean; begun: boolean; ready: boolean } | null;
  readonly waitForBuffering: boolean;
  readonly sync: DriftPolicy | null;
  readonly protocol: number;
  readonly features: Set<string>;
  readonly lines: Line[];
  readonly epoch: number;
  readonly seq: number;
  readonly version: Version | undefined;
  constructor(memory?: Partial<Memory>, nameless?: string);
  expectState(): void;
  name(userId: string | null): string;
  mayControl(userId: string): boolean;
  positionAt(now: number): number;
  apply(message: ServerMessage): Change | 'hole' | 'repeated';
}

// -- player

/** What the library needs of an HTMLMediaElement. */
export interface Media {
  currentTime: number;
  readonly duration: number;
  readonly paused: boolean;
  readonly ended: boolean;
  readonly seeking: boolean;
  readonly readyState: number;
  playbackRate: number;
  play(): Promise<void> | void;
  pause(): void;
  addEventListener(type: string, listener: (event: any) => void): void;
  removeEventListener(type: string, listener: (event: any) => void): void;
  src?: string;
  load?(): void;
  removeAttribute?(name: string): void;
}

export const SYNC_DEFAULTS: Readonly<DriftPolicy>;

export class PlaybackController extends Emitter<{
  intent: [control: 'play' | 'pause'];
  blocked: [blocked: boolean];
  failed: [];
  status: [status: MemberStatus];
  changed: [];
}> {
  suspended: boolean;
  readonly blocked: boolean;
  failed: boolean;
  readonly status: MemberStatus;
  readonly loaded: boolean;
  readonly position: number;
  readonly duration: number;
  readonly ended: boolean;
  readonly playing: boolean;
  readonly stalled: boolean;
  readonly drift: number | null;
  readonly telling: boolean;
  readonly startMs: number;
  readonly rate: number;
  readonly steerable: boolean;
  set sync(policy: Partial<DriftPolicy> | null);
  constructor(media: Media, given: { clock: { now(): number }; environment: Environment });
  close(): void;
  load(url: string | null): void;
  follow(timeline: Timeline): void;
  refine(timeline: Timeline): void;
  hold(position: number): Promise<boolean>;
  unblock(): void;
}

// -- party

export interface PartyOptions {
  tellEveryMs: number;
  seekAfterMs: number;
  holdWithinMs: number;
  chatWithinMs: number;
  nameless: string;
}

export const PARTY_DEFAULTS: Readonly<PartyOptions>;

/** Plain data. It contains a secret. */
export interface Memory extends Version {
  token: string;
  lines: Line[];
}

export class Party extends Emitter<{
  state: [state: State, error: RoomError | null];
  changed: [what: Change | 'player', message?: ServerMessage];
  message: [message: ServerMessage];
  problem: [error: TandemError];
}> {
  readonly clock: ServerClock;
  readonly room: Room;
  readonly connection: Connection;
  readonly player: PlaybackController | null;
  readonly me: string;
  readonly host: boolean;
  readonly mayControl: boolean;
  readonly pin: string;
  readonly playing: boolean;
  readonly pending: boolean;
  readonly position: number;
  readonly memory: Memory;
  constructor(given: {
    url: string;
    roomId: string;
    userId: string;
    username?: string;
    pin?: string;
    auth?: string;
    media?: Media;
    source?: ((url: string) => string | null) | null;
    memory?: Partial<Memory>;
    calls?: boolean;
    environment?: Environment;
    options?: Partial<PartyOptions & ConnectionOptions>;
  });
  start(): void;
  joined(options?: { withinMs?: number }): Promise<void>;
  retry(given?: { username?: string; pin?: string; auth?: string }): void;
  leave(): void;
  close(): void;
  rest(): void;
  toggle(): Promise<ServerAck | void>;
  play(): Promise<ServerAck | void>;
  pause(): Promise<ServerAck | void>;
  control(control: 'play' | 'pause'): Promise<ServerAck | void>;
  seek(position: number): Promise<ServerAck | void>;
  show(url: string): Promise<ServerAck>;
  setRate(rate: number): Promise<ServerAck>;
  say(text: string): Promise<ServerAck>;
  rename(username: string): Promise<ServerAck>;
  intend(control: 'play' | 'pause'): void;
}

// -- calls

/** A camera or microphone that cannot be used. */
export class CallError extends TandemError {
  readonly code: 'denied' | 'no_device' | 'busy' | 'insecure' | 'failed';
  readonly device: Device;
  constructor(code: string, device: Device, message: string, options?: ErrorOptions);
}

export type Device = 'camera' | 'microphone';

export interface CallOptions {
  video: MediaTrackConstraints;
  audio: MediaTrackConstraints;
  maxPeers: number;
  relayOnly: boolean;
  iceServersWithinMs: number;
  levelEveryMs: number;
  speakingLevel: number;
  speakingMs: number;
  connectWithinMs: number;
  connectLimitMs: number;
  recoverWithinMs: number;
  courtesyMs: number;
}

export const CALL_DEFAULTS: Readonly<CallOptions>;

/** Sends in order, also over lost connections; a promise is rejected if that was not possible. */
export interface Signalling {
  send(type: string, fields: object): Promise<unknown> | void;
  on(type: string, listener: (message: any) => void): End | void;
  members?(): ReadonlyMap<string, boolean | undefined>;
}

export function signallingOf(party: Party): Signalling;

/** The picture and the sound of another member. */
export interface CallTile {
  userId: string;
  stream: MediaStream;
  state: 'connecting' | 'connected' | 'reconnecting';
  camera: boolean;
  microphone: boolean;
  muted: boolean;
}

export class Call extends Emitter<{
  changed: [];
  members: [];
  speaking: [userId: string, speaking: boolean];
  problem: [error: CallError];
  trouble: [userId: string, error: Error];
}> {
  readonly state: 'out' | 'joining' | 'in';
  readonly supported: boolean;
  readonly hasRelay: boolean;
  readonly camera: boolean;
  readonly microphone: boolean;
  readonly stream: MediaStream | undefined;
  readonly members: ReadonlyMap<string, boolean | undefined>;
  readonly speaking: ReadonlySet<string>;
  readonly tiles: CallTile[];
  constructor(given: {
    signalling: Signalling;
    self: string;
    options?: Partial<CallOptions>;
    environment?: Environment;
  });
  join(options?: { camera?: boolean; microphone?: boolean }): Promise<void>;
  leave(): void;
  end(): void;
  close(): void;
  setCamera(on: boolean): Promise<void>;
  setMicrophone(on: boolean): Promise<void>;
  useDevice(device: Device, id: string): Promise<void>;
  devices(device: Device): Promise<{ id: string; label: string }[]>;
  deviceId(device: Device): string;
  mute(userId: string, muted: boolean): void;
  networkChanged(): void;
  stats(userId: string): Promise<object[]>;
}
