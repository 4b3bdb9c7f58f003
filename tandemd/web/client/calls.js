// The call of a room: voice and video from member to member. The server relays the negotiation only.

import { CallDevices } from './call-devices.js';
import { CallPeer, PEER_DEFAULTS } from './call-peer.js';
import { Speakers } from './call-speakers.js';
import { Emitter } from './emitter.js';
import { Environment } from './environment.js';

export const CALL_DEFAULTS = Object.freeze({
  ...PEER_DEFAULTS,
  // What the camera is asked for: small pictures, because each member sends its own to each other one.
  video: Object.freeze({ width: { ideal: 320 }, height: { ideal: 240 }, frameRate: { ideal: 20, max: 30 } }),
  audio: Object.freeze({ echoCancellation: true, noiseSuppression: true, autoGainControl: true }),
  // Connections to more members are not made: each costs a camera picture of its own.
  maxPeers: 16,
  // Use TURN servers only, so that the other members do not learn this one's address.
  relayOnly: false,
  // A wait for the answer to REQUEST_ICE_SERVERS; then the call goes on with those that are known.
  iceServersWithinMs: 5000,
  levelEveryMs: 200,
  // A member is shown as speaking above this level, and for some time after.
  speakingLevel: 0.02,
  speakingMs: 800,
});

// Credentials that end within this time are not used for a new connection.
const EXPIRY_MARGIN_MS = 60_000;

// Return the signalling of a Party, for Call.
export function signallingOf(party) {
  return {
    send: (type, fields) => {
      const message = { type, ...fields };
      // Candidates are many, and a restart brings new ones.
      return type === 'ICE_CANDIDATE' ? party.connection.send(message) : party.connection.command(message);
    },
    on: (type, listener) => party.on('message', (message) => message.type === type && listener(message)),
    members: () => party.room.inCall,
  };
}

/*
 * call.state is 'out', 'joining' or 'in'.
 * Events: changed(), of state, tiles and devices; members(), of `members`; speaking(userId, speaking); problem(error) with a CallError;
 * trouble(userId, error), for logs: a connection that begins again after an error of the browser.
 */
export class Call extends Emitter {
  state = 'out';
  // As `inCall` of Room.
  members = new Map();
  #signalling;
  #self;
  #options;
  #environment;
  #peers = new Map();
  #muted = new Set();
  #devices;
  #ice = null;
  #asked = null;
  #levels;
  #speakers;
  #unlisten = [];

  /*
   * signalling: {send(type, fields), on(type, listener), members()}. send sends in order, also over a lost connection, and may
   * return a promise that is rejected if it could not. members returns the members at present, as in `members`; without it,
   * they are known from the next ROOM_STATE on. self: the own user id. options: see CALL_DEFAULTS.
   * environment: an Environment.
   */
  constructor({ signalling, self, options = {}, environment = new Environment() }) {
    super();
    this.#signalling = signalling;
    this.#self = self;
    this.#options = { ...CALL_DEFAULTS, ...options };
    this.#environment = environment;
    this.members = new Map(signalling.members?.());
    this.#devices = new CallDevices(environment, this.#options, {
      replaced: (kind, track) => Promise.all([...this.#peers.values()].map((peer) => peer.replace(kind, track))),
      changed: () => this.emit('changed'),
      lost: () => this.#flagsChanged(),
      problem: (error) => this.emit('problem', error),
    });
    this.#speakers = new Speakers(this.#options, (userId, speaking) => this.emit('speaking', userId, speaking));
    const listen = (type, handler) => this.#unlisten.push(signalling.on(type, handler));
    listen('ROOM_STATE', (message) => this.#state(message));
    listen('ICE_SERVERS', (message) => this.#serversCame(message));
    listen('USER_JOINED', (message) => this.#joined(message));
    listen('MEMBER_CALL', (message) => this.#memberCall(message));
    for (const type of ['USER_LEFT', 'LEAVE']) listen(type, ({ userId }) => this.#left(userId));
    this.#unlisten.push(environment.onNetwork(() => this.networkChanged()));
    for (const type of ['OFFER', 'ANSWER', 'ICE_CANDIDATE']) listen(type, (message) => this.#signalled(message));
  }

  // Whether this browser can make calls.
  get supported() {
    return this.#environment.canCall;
  }

  // Whether the own camera and microphone are on.
  get camera() {
    return this.#devices.on.camera;
  }

  get microphone() {
    return this.#devices.on.microphone;
  }

  // The own picture and sound, sent to all; undefined before the first call.
  get stream() {
    return this.#devices.stream;
  }

  // The ids of the members that speak.
  get speaking() {
    return this.#speakers.speaking;
  }

  // Whether the server has named a TURN server, without which `relayOnly` lets no connection open.
  get hasRelay() {
    const urls = (this.#ice?.servers ?? []).flatMap((server) => server.urls);
    return urls.some((url) => url.startsWith('turn'));
  }

  // The other members' tiles: {userId, stream, state, camera, microphone, muted}; state as of CallPeer.
  get tiles() {
    return [...this.#peers.values()].map(({ userId, stream, state, camera, microphone, muted }) => {
      return { userId, stream, state, camera, microphone, muted };
    });
  }

  // Take part. A device that cannot be used is reported as a problem, and the call goes on without it.
  async join({ camera = true, microphone = true } = {}) {
    if (this.state !== 'out') return;
    this.state = 'joining';
    this.#devices.begin();
    this.emit('changed');
    if (microphone) await this.#devices.turn('microphone', true);
    if (camera) await this.#devices.turn('camera', true);
    await this.#configuration();
    if (this.state !== 'joining') return;
    this.#levels = this.#environment.setInterval(() => this.#measure(), this.#options.levelEveryMs);
    try {
      // MEMBER_CALL answers it.
      await this.#signalling.send('CALL', { joined: true });
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  leave() {
    if (this.state === 'out') return;
    this.#tell('CALL', { joined: false });
    for (const peer of this.#peers.values()) {
      // The old extension closes its connection then.
      if (!peer.modern) this.#tell('OFFER', { to: peer.userId, offer: { type: 'rollback', sdp: '' } });
    }
    this.#end();
  }

  // Leave without a word: the connection is not in the room any more.
  end() {
    if (this.state !== 'out') this.#end();
    this.members.clear();
    this.#membersChanged();
  }

  // End all and listen no more.
  close() {
    this.leave();
    for (const end of this.#unlisten) end?.();
  }

  // Turn camera or microphone on or off. The promise is resolved when it is done; a failure is reported as a problem.
  async setCamera(on) {
    await this.#turn('camera', on);
  }

  async setMicrophone(on) {
    await this.#turn('microphone', on);
  }

  // Use another camera or microphone. device: 'camera' or 'microphone'; id: a deviceId, '' for the default.
  async useDevice(device, id) {
    if (await this.#devices.choose(device, id)) this.#flagsChanged();
  }

  // Return the devices of a kind: {id, label}. The labels are empty until the browser allows the page to use one.
  devices(device) {
    return this.#devices.list(device);
  }

  // The id of the device that is in use, '' for none.
  deviceId(device) {
    return this.#devices.id(device);
  }

  // Silence a member here. The others go on hearing it.
  mute(userId, muted) {
    if (muted) this.#muted.add(userId);
    else this.#muted.delete(userId);
    const peer = this.#peers.get(userId);
    if (peer) peer.muted = muted;
    this.emit('changed');
  }

  // The network of this computer has changed: look for new ways to all members.
  networkChanged() {
    for (const peer of this.#peers.values()) peer.restart();
  }

  // Return the statistics of the connection to a member.
  async stats(userId) {
    return (await this.#peers.get(userId)?.stats()) ?? [];
  }

  // What a CallPeer needs of its call.
  #surroundings() {
    const call = this;
    return {
      environment: this.#environment,
      connect: async () => this.#environment.openPeerConnection(await this.#configuration()),
      configuration: () => this.#configuration(),
      send: (type, fields) => this.#signalling.send(type, fields),
      track: (kind) => this.#devices.track(kind),
      newStream: () => this.#environment.newMediaStream(),
      get stream() {
        return call.stream;
      },
      get flags() {
        return { camera: call.camera, microphone: call.microphone };
      },
      changed: () => this.emit('changed'),
      trouble: (peer, error) => this.emit('trouble', peer.userId, error),
      silent: (peer) => this.#peers.get(peer.userId) === peer && this.#drop(peer.userId),
    };
  }

  // Return the configuration of a connection, with servers whose credentials are valid.
  async #configuration() {
    if (!this.#ice || this.#ice.until < this.#environment.elapsedMs() + EXPIRY_MARGIN_MS) await this.#requestServers();
    const { servers = [], relayOnly = false } = this.#ice ?? {};
    const policy = relayOnly || this.#options.relayOnly ? 'relay' : 'all';
    return { iceServers: servers, iceTransportPolicy: policy, bundlePolicy: 'max-bundle' };
  }

  // -- the room

  #state(message) {
    this.#serversCame(message);
    this.members = new Map((message.users ?? []).map(({ userId, inCall }) => [userId, inCall]));
    for (const userId of this.#peers.keys()) {
      if (!this.members.has(userId) || this.members.get(userId) === false) this.#drop(userId);
    }
    if (this.state === 'in') {
      // The server may have lost it, with the room or with the membership.
      if (this.members.get(this.#self) !== true) this.#tell('CALL', { joined: true });
      for (const peer of this.#peers.values()) peer.resend();
      this.#offerToAll();
    }
    this.#membersChanged();
  }

  #joined({ userId, inCall }) {
    this.members.set(userId, inCall);
    if (userId !== this.#self) {
      // Its page was loaded again: the connection to it is dead.
      this.#drop(userId);
      if (this.state === 'in' && inCall === undefined) this.#offer(userId);
    }
    this.#membersChanged();
  }

  #memberCall({ userId, joined }) {
    this.members.set(userId, joined);
    if (userId === this.#self) {
      if (joined && this.state === 'joining') {
        this.state = 'in';
        // The members in the call offer to this one, but the clients that do not know CALL.
        this.#offerToAll((inCall) => inCall === undefined);
      }
    } else {
      this.#drop(userId);
      if (joined && this.state === 'in') this.#offer(userId);
    }
    this.#membersChanged();
  }

  #offerToAll(wanted = (inCall) => inCall !== false) {
    for (const [userId, inCall] of this.members) {
      if (userId !== this.#self && !this.#peers.has(userId) && wanted(inCall)) this.#offer(userId);
    }
  }

  #offer(userId) {
    if (this.#hasRoom(userId)) this.#peer(userId).offer();
  }

  #hasRoom(userId) {
    return this.#peers.has(userId) || this.#peers.size < this.#options.maxPeers;
  }

  #left(userId) {
    this.members.delete(userId);
    this.#drop(userId);
    this.#membersChanged();
  }

  #membersChanged() {
    this.emit('members');
    this.emit('changed');
  }

  #signalled(message) {
    const { userId, offer } = message;
    if (this.state === 'out' || !this.members.has(userId)) return;
    if (offer?.type === 'rollback') {
      this.#drop(userId);
      this.emit('changed');
    } else if (message.type === 'OFFER' ? this.#hasRoom(userId) : this.#peers.has(userId)) {
      this.#peer(userId).receive(message);
    }
  }

  #peer(userId) {
    let peer = this.#peers.get(userId);
    if (!peer) {
      const modern = this.members.get(userId) !== undefined;
      peer = new CallPeer({ userId, modern, polite: this.#self < userId, call: this.#surroundings(), options: this.#options });
      peer.muted = this.#muted.has(userId);
      this.#peers.set(userId, peer);
    }
    return peer;
  }

  #drop(userId) {
    this.#peers.get(userId)?.close();
    this.#peers.delete(userId);
    this.#speakers.forget(userId);
  }

  #end() {
    this.#environment.clearInterval(this.#levels);
    for (const userId of [...this.#peers.keys()]) this.#drop(userId);
    this.#speakers.forget(this.#self);
    this.state = 'out';
    this.#devices.end();
    this.emit('changed');
  }

  // Send what may fail: the next ROOM_STATE repairs it.
  #tell(type, fields) {
    Promise.resolve(this.#signalling.send(type, fields)).catch(() => {});
  }

  // -- STUN and TURN servers

  #serversCame({ iceServers, iceServersTtlMs = Infinity, relayOnly }) {
    if (!iceServers) return;
    this.#ice = { servers: iceServers, until: this.#environment.elapsedMs() + iceServersTtlMs, relayOnly };
    this.#asked?.resolve();
  }

  #requestServers() {
    if (!this.#asked) {
      const asked = (this.#asked = {});
      asked.promise = new Promise((resolve) => {
        asked.resolve = resolve;
        this.#environment.setTimeout(resolve, this.#options.iceServersWithinMs);
      });
      asked.promise.then(() => {
        this.#asked = null;
      });
      Promise.resolve(this.#signalling.send('REQUEST_ICE_SERVERS', {})).catch(asked.resolve);
    }
    return this.#asked.promise;
  }

  // -- camera and microphone

  async #turn(device, on) {
    if (await this.#devices.turn(device, on)) this.#flagsChanged();
  }

  #flagsChanged() {
    for (const peer of this.#peers.values()) peer.tell();
    this.emit('changed');
  }

  // -- who speaks

  async #measure() {
    const now = this.#environment.elapsedMs();
    for (const peer of this.#peers.values()) this.#speakers.heard(peer.userId, peer.muted ? 0 : peer.takeLevel(), now);
    const [peer] = this.#peers.values();
    const own = this.microphone ? ((await peer?.ownLevel()) ?? 0) : 0;
    if (this.state === 'in') this.#speakers.heard(this.#self, own, now);
  }
}
