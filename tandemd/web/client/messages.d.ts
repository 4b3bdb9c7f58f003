// Made by `python -m scripts.generate_message_schema`. Do not edit.

/** A message of a client, by its `type`. */
export interface ClientMessages {
  JOIN: ClientJoin;
  LEAVE: ClientLeave;
  PING: ClientPing;
  PLAY_PAUSE: ClientPlayPause;
  SEEK: ClientSeek;
  SET_RATE: ClientSetRate;
  READY: ClientReady;
  HOST_HEARTBEAT: ClientHostHeartbeat;
  POSITION_UPDATE: ClientPositionUpdate;
  URL_CHANGE: ClientUrlChange;
  REQUEST_SYNC: ClientRequestSync;
  STATUS: ClientStatus;
  UPDATE_USERNAME: ClientUpdateUsername;
  TOGGLE_GUEST_CONTROL: ClientToggleGuestControl;
  WAIT_FOR_BUFFERING: ClientWaitForBuffering;
  TRANSFER_HOST: ClientTransferHost;
  DELEGATE_CONTROL: ClientDelegateControl;
  LOCK_ROOM: ClientLockRoom;
  KICK: ClientKick;
  BAN: ClientBan;
  UNBAN: ClientUnban;
  ADMIT: ClientAdmit;
  CHAT: ClientChat;
  OFFER: ClientOffer;
  ANSWER: ClientAnswer;
  ICE_CANDIDATE: ClientIceCandidate;
  PLAYBACK_ACK: ClientPlaybackAck;
  SYNC_RESPONSE: ClientSyncResponse;
  CALL: ClientCall;
  REQUEST_ICE_SERVERS: ClientRequestIceServers;
}

/** A message of a client. */
export type ClientMessage = ClientMessages[keyof ClientMessages];

/** A message of the server, by its `type`. */
export interface ServerMessages {
  ROOM_STATE: ServerRoomState;
  USER_JOINED: ServerUserJoined;
  USER_LEFT: ServerUserLeft;
  LEAVE: ServerLeave;
  HOST_CHANGED: ServerHostChanged;
  GUEST_CONTROL: ServerGuestControl;
  CONTROL_DELEGATED: ServerControlDelegated;
  ROOM_LOCKED: ServerRoomLocked;
  USERNAME_UPDATED: ServerUsernameUpdated;
  MEMBER_STATUS: ServerMemberStatus;
  WAIT_FOR_BUFFERING: ServerWaitForBuffering;
  MEMBER_CALL: ServerMemberCall;
  PLAY_PAUSE: ServerPlayPause;
  RATE_CHANGED: ServerRateChanged;
  SEEK_PAUSE: ServerSeekPause;
  URL_CHANGE: ServerUrlChange;
  CHAT: ServerChat;
  KICKED: ServerKicked;
  BANS: ServerBans;
  KNOCK: ServerKnock;
  ROOM_CLOSED: ServerRoomClosed;
  HOST_HEARTBEAT: ServerHostHeartbeat;
  SYNC_RESPONSE: ServerSyncResponse;
  OFFER: ServerOffer;
  ANSWER: ServerAnswer;
  ICE_CANDIDATE: ServerIceCandidate;
  PLAYBACK_ACK: ServerPlaybackAck;
  ICE_SERVERS: ServerIceServers;
  ACK: ServerAck;
  ERROR: ServerError;
  PONG: ServerPong;
  SERVER_RESTART: ServerServerRestart;
}

/** A message of the server. */
export type ServerMessage = ServerMessages[keyof ServerMessages];

/**
 * Join a room, or come back to it. The server creates a room that does not exist. A connection may send JOIN
 * repeatedly.
 */
export interface ClientJoin {
  type: "JOIN";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The room. */
  roomId: string;
  /** The sender's user id, unique in the room. */
  userId: string;
  /** The name to show; absent or empty keeps the old one. The server cuts it to 50 characters. */
  username?: string | null;
  /** The room's PIN; a new room gets it. A member that has not left needs none. */
  pin?: string | null;
  /**
   * Whether the client can keep a secret; ROOM_STATE then brings a `token`.
   * @default false
   */
  keepsToken?: boolean;
  /** The secret of an earlier ROOM_STATE. It proves the user id. */
  token?: string | null;
  /** A signed token (JWT), where the server requires one. */
  auth?: string | null;
  /** With a token: replay the messages missed since this version. */
  resume?: Resume | null;
  /** A random word for this run of the client. `id`s are unique within it, or within the connection without one. */
  nonce?: string | null;
  /**
   * The client follows the room also while its member is host. Its player never moves the room.
   * @default false
   */
  follows?: boolean;
  /**
   * The client starts its player at `at` of PLAY_PAUSE.
   * @default false
   */
  schedules?: boolean;
  /**
   * The client makes video calls, and sends CALL: ROOM_STATE then brings `iceServers`.
   * @default false
   */
  calls?: boolean;
}

/** Leave the room for good. The last member to leave ends it. It also ends a JOIN that waits. */
export interface ClientLeave {
  type: "LEAVE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
}

/** Ask for a PONG; also before JOIN. */
export interface ClientPing {
  type: "PING";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The client's clock in ms, from any beginning; PONG returns it, with the server's clock. */
  t0?: number | null;
}

/** Play or pause for all members. */
export interface ClientPlayPause {
  type: "PLAY_PAUSE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The new state. */
  control: "pause" | "play";
  /** The position of the sender's player; absent: the room's. */
  currentTime?: number | null;
  /** The greatest seq that the sender has seen; see `stale`. */
  seq?: number | null;
}

/** Move all members to a position. All pause there, and continue together when they are READY. */
export interface ClientSeek {
  type: "SEEK";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The film's position, in seconds. */
  currentTime: number;
  /**
   * Whether the film plays afterwards.
   * @default false
   */
  isPlaying?: boolean;
  /** As in PLAY_PAUSE. */
  seq?: number | null;
}

/** Play faster or slower for all members. A new title has rate 1 again. */
export interface ClientSetRate {
  type: "SET_RATE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** Seconds of film per second. */
  rate: number;
  /** As in PLAY_PAUSE. */
  seq?: number | null;
}

/** The player has paused at the position of the last SEEK_PAUSE and could play at once. */
export interface ClientReady {
  type: "READY";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** `currentTime` of that SEEK_PAUSE, unchanged. */
  targetTime: number;
  /** As in PLAY_PAUSE; a READY for an earlier title is ignored. */
  seq?: number | null;
}

/**
 * The position of the host's player. The same as POSITION_UPDATE.
 * @deprecated Only for the tandem.watch extension 2.0.0.
 */
export interface ClientHostHeartbeat {
  type: "HOST_HEARTBEAT";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The film's position, in seconds. */
  currentTime: number;
  /** Whether the film plays. */
  isPlaying: boolean;
}

/** The sender's player, twice a second while it watches. A seek waits for all senders. */
export interface ClientPositionUpdate {
  type: "POSITION_UPDATE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The film's position, in seconds. */
  currentTime: number;
  /** Whether the film plays. */
  isPlaying: boolean;
  /** The title that the player shows; the server ignores positions in another one than the room's. */
  url?: string | null;
  /**
   * Whether the player has played to the end of the title.
   * @default false
   */
  ended?: boolean;
  /** Of the title in seconds, as far as the player knows it; absent for a live stream. */
  duration?: number | null;
  /**
   * The time on the server's clock at which `currentTime` was read, in ms with fractions. A time that is more than 10 s
   * from the arrival counts as absent.
   */
  at?: number | null;
}

/** Change the title for all members; it starts at its beginning, paused. */
export interface ClientUrlChange {
  type: "URL_CHANGE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /**
   * Absolute, http or https, and allowed by the server. The server passes it on in the form in which browsers write it:
   * scheme and host in lower case, without the default port and dot segments, other characters escaped.
   */
  url: string;
  /** As in PLAY_PAUSE. */
  seq?: number | null;
}

/** Ask for the film's position. The answer is SYNC_RESPONSE; the host gets none. */
export interface ClientRequestSync {
  type: "REQUEST_SYNC";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
}

/**
 * Tell the other members the sender's status. A member that has sent none since its JOIN, but for one with `resume`,
 * watches.
 */
export interface ClientStatus {
  type: "STATUS";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** "buffering" while the player waits for data, "away" while the member does not see the film, else "watching". */
  status: "away" | "buffering" | "watching";
}

/** Change the sender's name. */
export interface ClientUpdateUsername {
  type: "UPDATE_USERNAME";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The new name. The server cuts it to 50 characters. */
  username: string;
}

/** Let guests control the film, or not. */
export interface ClientToggleGuestControl {
  type: "TOGGLE_GUEST_CONTROL";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** True to allow, false to forbid. */
  enabled: boolean;
}

/** Have the film wait for members that buffer, or not. */
export interface ClientWaitForBuffering {
  type: "WAIT_FOR_BUFFERING";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** True to wait; a new room does not. */
  enabled: boolean;
}

/** Make another member the host. */
export interface ClientTransferHost {
  type: "TRANSFER_HOST";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The member. */
  targetUserId: string;
}

/** Let one member control the film, or not. It lasts until the member leaves. */
export interface ClientDelegateControl {
  type: "DELEGATE_CONTROL";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The member. */
  targetUserId: string;
  /** True to allow, false to forbid. */
  enabled: boolean;
}

/** Keep newcomers out, or let them in again. Members come back as always. */
export interface ClientLockRoom {
  type: "LOCK_ROOM";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** True to keep newcomers out. */
  locked: boolean;
}

/** Remove a member. It can come back under this user id after 5 minutes. */
export interface ClientKick {
  type: "KICK";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The member. */
  targetUserId: string;
  /** A text for the member and the record. The server cuts it to 200 characters. */
  reason?: string | null;
}

/** Ban a user id for the life of the room, and remove the member if it is present. */
export interface ClientBan {
  type: "BAN";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The user id to ban. */
  targetUserId: string;
  /** As in KICK. */
  reason?: string | null;
  /**
   * Whether newcomers from its last addresses are banned too; never the sender's. BANS shows the result.
   * @default true
   */
  byAddress?: boolean;
  /**
   * Removes members at these addresses too, except the sender: members that never had a token and never sent an `id`,
   * or all. They get KICKED, 50 at a time: send it again for more. Without it, members stay.
   */
  withMembers?: "all" | "unproven" | null;
}

/** Take back a kick or a ban. */
export interface ClientUnban {
  type: "UNBAN";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The user id of the kick or ban. */
  targetUserId: string;
}

/** Answer a KNOCK: let one newcomer into the locked room, or reject its JOIN with the ERROR `forbidden`. */
export interface ClientAdmit {
  type: "ADMIT";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The user id of the KNOCK. Without a JOIN that waits under it, nothing happens. */
  targetUserId: string;
  /** True to let it in, false to reject it. */
  admitted: boolean;
}

/** Send a chat message to all members. */
export interface ClientChat {
  type: "CHAT";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** Up to 2000 characters. Control characters, except tabs and line breaks, are removed. */
  text: string;
}

/** A WebRTC offer to one member. */
export interface ClientOffer {
  type: "OFFER";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The receiver's user id. */
  to: string;
  /** The description. */
  offer: SessionDescription;
}

/** A WebRTC answer to one member. */
export interface ClientAnswer {
  type: "ANSWER";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The receiver's user id. */
  to: string;
  /** The description. */
  answer: SessionDescription;
}

/** A WebRTC candidate to one member; null ends the list. */
export interface ClientIceCandidate {
  type: "ICE_CANDIDATE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The receiver's user id. */
  to: string;
  /** The candidate; null ends the list. */
  candidate: IceCandidateInit | null;
}

/**
 * Tell one member that its play or pause has been carried out.
 * @deprecated Only for the tandem.watch extension 2.0.0.
 */
export interface ClientPlaybackAck {
  type: "PLAYBACK_ACK";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The receiver's user id. */
  to: string;
  /** The new state. */
  control?: "pause" | "play" | null;
}

/**
 * Tell one member the position of the sender's player.
 * @deprecated Only for the tandem.watch extension 2.0.0.
 */
export interface ClientSyncResponse {
  type: "SYNC_RESPONSE";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** The receiver's user id. */
  to: string;
  /** The film's position, in seconds. */
  currentTime: number;
  /** Whether the film plays. */
  isPlaying: boolean;
  /**
   * The title, an absolute URL; `""` if none was chosen.
   * @default ""
   */
  url?: string;
}

/** Tell the members whether the sender takes part in the call. A JOIN without `resume` ends its part. */
export interface ClientCall {
  type: "CALL";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
  /** True if it does. */
  joined: boolean;
}

/** Ask for the STUN and TURN servers of calls, with new credentials. The answer is ICE_SERVERS. */
export interface ClientRequestIceServers {
  type: "REQUEST_ICE_SERVERS";
  /** A counter of the client's, unique within the `nonce` of its JOIN; the answer is ACK or ERROR with the same id. */
  id?: number | null;
}

/**
 * The whole state of the room: the answer to JOIN. It also comes before the ERROR `stale`, and after a repair of the
 * room.
 */
export interface ServerRoomState {
  type: "ROOM_STATE";
  /** The room. */
  roomId: string;
  /** The title, an absolute URL; `""` if none was chosen. */
  url: string;
  /** The film at `serverTime`. */
  currentTime: number;
  /** The film at `serverTime`. */
  isPlaying: boolean;
  /** The host, or null while the room has none. */
  hostUserId: string | null;
  /** Whether guests may control the film. */
  guestControlEnabled: boolean;
  /** The members, also those in their grace period. */
  users: User[];
  /** The name of the numbering; a `seq` of another epoch means nothing. */
  epoch: number;
  /** That of the state; later messages have a greater one. */
  seq: number;
  /** The last seq with a message. */
  prev: number;
  /** The server's clock, a timestamp. */
  serverTime: number;
  /** The version of the protocol, 1. */
  protocol: number;
  /** The abilities of the server; see [Features](#features). Ignore names that you do not know. */
  features: string[];
  /**
   * Only while a start is scheduled: the time on the server's clock at which the film starts, in ms with fractions.
   * Until then it stands at `currentTime`, although `isPlaying` is true.
   */
  at?: number;
  /** The playback rate, if it is not 1. */
  rate?: number;
  /** A secret, if JOIN asked for one; send it in the next JOIN. */
  token?: string;
  /** In the answer to a `resume`, whether all missed messages came before this one. */
  resumed?: boolean;
  /** While a seek waits for members, its position and their user ids. */
  gate?: GateState;
  /**
   * Whether the room rejects newcomers.
   * @default false
   */
  locked?: boolean;
  /**
   * User ids of the members with delegated control.
   * @default []
   */
  controllers?: string[];
  /**
   * Whether the film waits for members that buffer.
   * @default false
   */
  waitForBuffering?: boolean;
  /** The server's policy for corrections. */
  sync?: DriftPolicy;
  /** As in ICE_SERVERS; only in the answer to a JOIN with `calls`. */
  iceServers?: IceServer[];
  /** As in ICE_SERVERS; only in the answer to a JOIN with `calls`. */
  iceServersTtlMs?: number;
  /**
   * As in ICE_SERVERS; only in the answer to a JOIN with `calls`.
   * @default false
   */
  relayOnly?: boolean;
}

/** A member joined, or came back with a reloaded page. */
export interface ServerUserJoined {
  type: "USER_JOINED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** The name to show, or null. */
  username: string | null;
  /** False if its client sends CALL; else offer it a new video connection. */
  inCall?: boolean;
}

/** A member left: remove it, and drop its video connection. */
export interface ServerUserLeft {
  type: "USER_LEFT";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** Present if the host removed the member. */
  reason?: "banned" | "kicked";
}

/**
 * A member left: drop the video connection. USER_LEFT always follows, and says the same.
 * @deprecated Only for the tandem.watch extension 2.0.0.
 */
export interface ServerLeave {
  type: "LEAVE";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
}

/** The room's host; also sent when it is the same as before. */
export interface ServerHostChanged {
  type: "HOST_CHANGED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The host, or null while the room has none. */
  hostUserId: string | null;
}

/** Whether guests may control the film. Without `seq`, for old clients: whether this member may. */
export interface ServerGuestControl {
  type: "GUEST_CONTROL";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** True if they may. */
  enabled: boolean;
}

/** Whether control of the film is delegated to a member. */
export interface ServerControlDelegated {
  type: "CONTROL_DELEGATED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** True if it may control the film, even if guests may not. */
  enabled: boolean;
}

/** The host has locked or unlocked the room. */
export interface ServerRoomLocked {
  type: "ROOM_LOCKED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** Whether the room keeps newcomers out. */
  locked: boolean;
}

/** A member has a new name. */
export interface ServerUsernameUpdated {
  type: "USERNAME_UPDATED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** The new name. */
  username: string;
}

/** A member has another status. */
export interface ServerMemberStatus {
  type: "MEMBER_STATUS";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** As in STATUS. */
  status: "away" | "buffering" | "watching";
}

/** Whether the film waits for members that buffer. */
export interface ServerWaitForBuffering {
  type: "WAIT_FOR_BUFFERING";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** True if it does. */
  enabled: boolean;
}

/** A member has joined or left the call. Members in the call offer a connection to one that joins. */
export interface ServerMemberCall {
  type: "MEMBER_CALL";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** True if it takes part now. A USER_JOINED of the member ends its part, too. */
  joined: boolean;
}

/** Play or pause. */
export interface ServerPlayPause {
  type: "PLAY_PAUSE";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /**
   * The member that did it; "server" at the end of a seek, while the host's player stalls, or to bring a member in
   * step.
   */
  userId: string;
  /** The new state. */
  control: "pause" | "play";
  /** The film's position at `timestamp`, in seconds. */
  currentTime: number;
  /** The server's clock; that of the start, if it is scheduled. */
  timestamp: number;
  /**
   * Only if the start is scheduled: the time on the server's clock at which the film starts, in ms with fractions. It
   * may be up to 0.5 s ahead.
   */
  at?: number;
  /** The playback rate, if it is not 1. */
  rate?: number;
}

/** The film plays at another rate. It plays or stands as before. */
export interface ServerRateChanged {
  type: "RATE_CHANGED";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member that did it; "server" when the last member has left whose client follows the room. */
  userId: string;
  /** Seconds of film per second. */
  rate: number;
  /** The film's position at `at`, in seconds. */
  currentTime: number;
  /** A time on the server's clock, in ms with fractions. */
  at: number;
}

/** Go to this position, pause, and answer READY when the player could play. */
export interface ServerSeekPause {
  type: "SEEK_PAUSE";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** Always "server", so that the sender of SEEK does the same. */
  userId: string;
  /** The film's position, in seconds. */
  currentTime: number;
  /** The server's clock. */
  timestamp: number;
  /**
   * The sender of SEEK; absent if the film waits for members that buffer.
   * @default ""
   */
  by?: string;
}

/** The room has this title now. */
export interface ServerUrlChange {
  type: "URL_CHANGE";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** The title, an absolute URL; `""` if none was chosen. */
  url: string;
}

/** A chat message. */
export interface ServerChat {
  type: "CHAT";
  /** The number of the change. It grows; not every number carries a message. Absent in a message to a single member. */
  seq?: number;
  /**
   * The seq of the last change before it that carried messages; a client that has not seen that one missed a message.
   * @default 0
   */
  prev?: number;
  /** [which, of how many], from 1, if the change carries several messages. */
  part?: [number, number];
  /**
   * True for a missed message, after a resume. Show it; do not let it drive the player.
   * @default false
   */
  replayed?: boolean;
  /** The member. */
  userId: string;
  /** The name to show, or null. */
  username: string | null;
  /** The text. */
  text: string;
  /** The server's clock. */
  timestamp: number;
}

/** The host has removed the receiver. Its connection is in no room now. USER_LEFT for each other member follows. */
export interface ServerKicked {
  type: "KICKED";
  /** The host. */
  by: string;
  /**
   * Whether the removal is for the life of the room.
   * @default false
   */
  banned?: boolean;
  /** The host's text. */
  reason?: string;
  /** Milliseconds until the receiver may come back; absent for a ban. */
  retryAfterMs?: number;
}

/**
 * The kicks and bans in force. To the host: after KICK, BAN and UNBAN; after ROOM_STATE, and to a new host, unless
 * empty.
 */
export interface ServerBans {
  type: "BANS";
  /** The kicks that have not ended, and all bans. */
  bans: BanEntry[];
}

/** A newcomer waits at the locked room. Only to the host, while it is connected. ADMIT answers it. */
export interface ServerKnock {
  type: "KNOCK";
  /** The newcomer, not yet a member. */
  userId: string;
  /** The name to show, or null. */
  username: string | null;
}

/**
 * The server's operator has ended the room. The connection is in no room now. USER_LEFT for each member follows. A JOIN
 * with the same `roomId` creates a new room.
 */
export interface ServerRoomClosed {
  type: "ROOM_CLOSED";
  /** The operator's text. */
  reason?: string;
}

/**
 * The film's position: every 3 s while it plays, and to a member that is elsewhere; not to a host that the room
 * follows.
 */
export interface ServerHostHeartbeat {
  type: "HOST_HEARTBEAT";
  /** Always "server". */
  userId: string;
  /** The film's position, in seconds. */
  currentTime: number;
  /** Whether the film plays. */
  isPlaying: boolean;
  /** The server's clock. */
  timestamp: number;
  /** That of the state it was made from. */
  seq: number;
  /** The playback rate, if it is not 1. */
  rate?: number;
}

/** The film's position: the answer to REQUEST_SYNC, or the position of another member's player. */
export interface ServerSyncResponse {
  type: "SYNC_RESPONSE";
  /** The receiver. */
  to: string;
  /** The sender; `server` for the room's position. */
  fromUserId: string;
  /** The film's position, in seconds. */
  currentTime: number;
  /** Whether the film plays. */
  isPlaying: boolean;
  /** The title; "" for a member that may choose it. */
  url: string;
  /** The server's clock. */
  timestamp?: number;
  /** That of the state it was made from. */
  seq?: number;
  /** The member. */
  userId?: string;
}

/** A WebRTC offer from another member. */
export interface ServerOffer {
  type: "OFFER";
  /** The sender. */
  from: string;
  /** The sender. */
  userId: string;
  /** The receiver. */
  to: string;
  /** The description. */
  offer: SessionDescription;
}

/** A WebRTC answer from another member. */
export interface ServerAnswer {
  type: "ANSWER";
  /** The sender. */
  from: string;
  /** The sender. */
  userId: string;
  /** The receiver. */
  to: string;
  /** The description. */
  answer: SessionDescription;
}

/** A WebRTC candidate from another member. */
export interface ServerIceCandidate {
  type: "ICE_CANDIDATE";
  /** The sender. */
  from: string;
  /** The sender. */
  userId: string;
  /** The receiver. */
  to: string;
  /** The candidate; null ends the list. */
  candidate: IceCandidateInit | null;
}

/**
 * Another member has carried out the receiver's play or pause.
 * @deprecated Only for the tandem.watch extension 2.0.0.
 */
export interface ServerPlaybackAck {
  type: "PLAYBACK_ACK";
  /** The sender. */
  from: string;
  /** The sender. */
  userId: string;
  /** The receiver. */
  to: string;
  /** The new state. */
  control?: "pause" | "play";
}

/** The STUN and TURN servers of calls: the answer to REQUEST_ICE_SERVERS. */
export interface ServerIceServers {
  type: "ICE_SERVERS";
  /** For RTCConfiguration; may be empty. */
  iceServers: IceServer[];
  /** Milliseconds for which the credentials open new connections; absent if they do not expire. */
  iceServersTtlMs?: number;
  /**
   * Whether the operator wants calls to use TURN only, so that members do not learn each other's addresses.
   * @default false
   */
  relayOnly?: boolean;
}

/** The server has applied the command with this id, and will not apply it again. */
export interface ServerAck {
  type: "ACK";
  /** The id of the command. */
  id: number;
  /** The seq of its change, or the room's last one if it changed nothing; absent if the command concerns no room. */
  seq?: number;
}

/**
 * The server has rejected a command. It will not apply it later, except a JOIN that stays pending. The connection
 * stays.
 */
export interface ServerError {
  type: "ERROR";
  /** The reason, for programs; see the codes of ERROR. */
  code: "bad_message" | "unknown_type" | "not_joined" | "detached" | "forbidden" | "bad_pin" | "unauthorized" | "bad_user" | "identity_conflict" | "room_full" | "kicked" | "banned" | "locked" | "bad_url" | "stale" | "forgotten" | "too_large" | "mailbox_full" | "no_such_member" | "unavailable" | "rate_limited" | "idle" | "internal";
  /** The reason as a text. */
  message: string;
  /** The id of the command, if it has one. */
  id?: number;
  /** Milliseconds after which another try may help. */
  retryAfterMs?: number;
  /**
   * The limit that a deferred JOIN waits for: joins, creations, rooms_per_address, rooms_per_node, pin_tries_per_room,
   * pin_tries_per_address, hashing, pending_joins or members_per_address.
   */
  limit?: string;
}

/** The answer to PING. */
export interface ServerPong {
  type: "PONG";
  /** The server's clock. */
  timestamp: number;
  /** That of PING, if it had one. */
  t0?: number;
  /** The server's clock at the arrival of such a PING and at the departure of this message, in ms with fractions. */
  received?: number;
  /** The server's clock at the arrival of such a PING and at the departure of this message, in ms with fractions. */
  sent?: number;
}

/** This server is about to close the connection; nothing is lost. */
export interface ServerServerRestart {
  type: "SERVER_RESTART";
  /** Milliseconds until the client should connect again. */
  reconnectAfterMs: number;
}

/** The version of the room up to which the client has seen all messages. */
export interface Resume {
  /** That of the last ROOM_STATE. */
  epoch: number;
  /** The greatest seen, in ROOM_STATE or a logged message. */
  seq: number;
}

/** A WebRTC session description. */
export interface SessionDescription {
  /** As in RTCSessionDescription. */
  type: "answer" | "offer" | "pranswer" | "rollback";
  /**
   * The same.
   * @default ""
   */
  sdp?: string;
}

/** A WebRTC ICE candidate. */
export interface IceCandidateInit {
  /**
   * As in RTCIceCandidate.
   * @default ""
   */
  candidate?: string;
  /** As in RTCIceCandidate. */
  sdpMid?: string | null;
  /** As in RTCIceCandidate. */
  sdpMLineIndex?: number | null;
  /** As in RTCIceCandidate. */
  usernameFragment?: string | null;
}

/** A member, as others see it. */
export interface User {
  /** The member. */
  userId: string;
  /** The name to show, or null. */
  username: string | null;
  /** As in STATUS, if it is not "watching". */
  status?: "away" | "buffering" | "watching";
  /** Whether it takes part in the call; absent if its client sends no CALL. */
  inCall?: boolean;
}

/** A STUN or TURN server, as in RTCIceServer. */
export interface IceServer {
  /** Its URLs: stun:, turn: or turns:. */
  urls: string[];
  /** Of a TURN server. */
  username?: string;
  /** Of a TURN server. */
  credential?: string;
}

/** The ready gate of a seek. */
export interface GateState {
  /** The position of the seek. */
  currentTime: number;
  /** User ids of the members that are not READY yet. */
  waitingFor: string[];
}

/** The corrections that a client makes to its own player. */
export interface DriftPolicy {
  /** The distance from the film, in seconds, beyond which the player seeks. */
  jump: number;
  /** The distances at which it begins and ends to catch up by its rate. */
  steerFrom: number;
  /** The distances at which it begins and ends to catch up by its rate. */
  steerUntil: number;
  /** The greatest factor of the rate for that; the smallest is `2 - maxRate`. */
  maxRate: number;
}

/** A kick or a ban in force. */
export interface BanEntry {
  /** The kicked or banned user id. */
  userId: string;
  /** The name to show, or null. */
  username: string | null;
  /**
   * Whether newcomers from its addresses are banned too.
   * @default false
   */
  byAddress?: boolean;
  /** The end, a timestamp; absent for the life of the room. */
  until?: number;
}
