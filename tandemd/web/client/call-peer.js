// The WebRTC connection to one other member of a call: negotiation, and recovery when it breaks.

export const PEER_DEFAULTS = Object.freeze({
  // A connection that is not open within this time is made again, or given up if the member may be gone.
  connectWithinMs: 15_000,
  connectLimitMs: 60_000,
  // How long a disturbed connection may recover by itself before its ICE restart.
  recoverWithinMs: 3000,
  // The polite side waits so much longer: both sides notice the same break.
  courtesyMs: 2000,
});

const KINDS = ['audio', 'video'];
const MAX_EARLY_CANDIDATES = 200;

// Return the session id of a description. It is another one if the other side has a new RTCPeerConnection.
function sessionOf(description) {
  return /^o=\S+ (\S+)/m.exec(description?.sdp ?? '')?.[1];
}

/*
 * call, as of Call: environment; connect(), which returns the promise of an RTCPeerConnection; configuration();
 * send(type, fields); track(kind); stream, the local MediaStream; flags, {camera, microphone}; newStream(); changed(peer);
 * silent(peer), when a member that may be gone does not answer; trouble(peer, error), when a description was rejected.
 */
export class CallPeer {
  userId;
  // 'connecting', 'connected' or 'reconnecting'.
  state = 'connecting';
  // The other member's picture and sound.
  stream;
  // What the other side says of itself; true while it says nothing.
  camera = true;
  microphone = true;
  // Whether a description could not be sent.
  stale = false;
  // Whether the client of the other member sends CALL.
  modern;
  #polite;
  #call;
  #options;
  #pc = null;
  #channel = null;
  // The signals are handled one after another.
  #chain = Promise.resolve();
  #candidates = [];
  #answerSdp;
  #timer;
  #attempts = 0;
  #muted = false;
  #heardAt;
  #restarting = false;
  #closed = false;

  constructor({ userId, polite, modern, call, options }) {
    this.userId = userId;
    this.modern = modern;
    // An old client takes its own offer back, and answers.
    this.#polite = polite && modern;
    this.#call = call;
    this.#options = options;
    this.stream = call.newStream();
  }

  // Offer a new connection.
  offer() {
    this.#enqueue(async () => {
      const pc = await this.#open();
      for (const kind of KINDS) this.#add(pc, kind);
      this.#openChannel(pc);
      await this.#sendOffer(pc);
    });
  }

  // Take in an OFFER, ANSWER or ICE_CANDIDATE of the other member.
  receive(message) {
    this.#enqueue(async () => {
      if (message.type === 'OFFER') await this.#answer(message.offer);
      else if (message.type === 'ANSWER') await this.#answered(message.answer);
      else await this.#addCandidate(message.candidate);
    });
  }

  // Signals may have been lost.
  resend() {
    this.#enqueue(async () => {
      const pc = this.#pc;
      if (!pc) return;
      if (pc.signalingState === 'have-local-offer') this.#send('OFFER', { offer: pc.localDescription });
      else if (this.stale && pc.localDescription?.type === 'answer') this.#send('ANSWER', { answer: pc.localDescription });
      this.stale = false;
      if (pc.signalingState === 'stable' && this.state !== 'connected') await this.#restart(pc);
    });
  }

  // Send another track, or none. kind: 'audio' or 'video'.
  async replace(kind, track) {
    const senders = this.#pc?.getTransceivers().filter(({ receiver }) => receiver.track.kind === kind) ?? [];
    await Promise.all(senders.map(({ sender }) => sender.replaceTrack(track)));
  }

  // Tell the other side whether camera and microphone are on.
  tell() {
    if (this.#channel?.readyState === 'open') this.#channel.send(JSON.stringify(this.#call.flags));
  }

  // Whether this member is silent here.
  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    for (const track of this.stream.getAudioTracks()) track.enabled = !muted;
  }

  // Return how loud the member is since the last call, from 0 to 1.
  takeLevel() {
    const receiver = this.#pc?.getReceivers().find(({ track }) => track.kind === 'audio');
    const source = receiver?.getSynchronizationSources?.()[0];
    // Without packets since the last look, there is no sound.
    if (!source || source.timestamp === this.#heardAt) return 0;
    this.#heardAt = source.timestamp;
    return source.audioLevel ?? 0;
  }

  // Return how loud the own microphone is, from 0 to 1.
  async ownLevel() {
    const audio = this.#pc?.getTransceivers().find(({ receiver }) => receiver.track.kind === 'audio');
    const stats = await audio?.sender.getStats();
    return [...(stats?.values() ?? [])].find(({ type }) => type === 'media-source')?.audioLevel ?? 0;
  }

  // The statistics of the connection.
  async stats() {
    return this.#pc ? [...(await this.#pc.getStats()).values()] : [];
  }

  close() {
    this.#closed = true;
    this.#drop();
  }

  // -- negotiation

  #enqueue(step) {
    this.#chain = this.#chain.then(() => !this.#closed && step()).catch((error) => this.#failed(error));
  }

  // A description that the browser rejects, or none that it can make: begin again.
  #failed(error) {
    if (this.#closed) return;
    this.#call.trouble(this, error);
    this.#drop();
    this.#wait(this.#options.courtesyMs);
  }

  async #open() {
    this.#drop();
    const pc = await this.#call.connect();
    if (this.#closed) {
      pc.close();
      throw new DOMException('The call has ended.', 'AbortError');
    }
    this.#pc = pc;
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    pc.onicecandidate = ({ candidate }) => {
      if (pc === this.#pc) this.#send('ICE_CANDIDATE', { candidate: candidate?.toJSON() ?? null });
    };
    pc.ontrack = ({ track }) => {
      if (track.kind === 'audio') track.enabled = !this.#muted;
      this.stream.addTrack(track);
      this.#call.changed(this);
    };
    // After `offer` and `#answer`, only for ICE restarts and for tracks that the other side has not offered.
    pc.onnegotiationneeded = () => this.#enqueue(() => this.#sendOffer(pc));
    pc.onconnectionstatechange = () => pc === this.#pc && this.#watch(pc);
    this.#await();
    return pc;
  }

  #drop() {
    this.#call.environment.clearTimeout(this.#timer);
    const pc = this.#pc;
    this.#pc = this.#channel = null;
    pc?.close();
  }

  #add(pc, kind) {
    pc.addTransceiver(this.#call.track(kind) ?? kind, { direction: 'sendrecv', streams: [this.#call.stream] });
  }

  #openChannel(pc) {
    if (this.#channel) return;
    const channel = (this.#channel = pc.createDataChannel('call', { negotiated: true, id: 0 }));
    channel.onopen = () => this.tell();
    channel.onmessage = ({ data }) => {
      try {
        const { camera, microphone } = JSON.parse(data);
        this.camera = camera !== false;
        this.microphone = microphone !== false;
      } catch {
        return;
      }
      this.#call.changed(this);
    };
  }

  async #sendOffer(pc) {
    if (pc !== this.#pc || pc.signalingState !== 'stable') return;
    if (pc.localDescription && !this.#needsOffer(pc)) return;
    await pc.setLocalDescription();
    this.#send('OFFER', { offer: pc.localDescription });
  }

  // The event comes late: `offer`, `#answer` and `#restart` may have done already what it asks for.
  #needsOffer(pc) {
    return this.#restarting || pc.getTransceivers().some(({ mid, stopped }) => mid === null && !stopped);
  }

  async #answer(offer) {
    let pc = this.#pc;
    const isNew = pc?.remoteDescription && sessionOf(pc.remoteDescription) !== sessionOf(offer);
    const collides = pc?.signalingState === 'have-local-offer';
    if (collides && !isNew && !this.#polite) return;
    // A pending first offer cannot be taken back without its transceivers.
    if (!pc || isNew || (collides && !pc.remoteDescription)) pc = await this.#open();
    await pc.setRemoteDescription(offer);
    const offered = new Set();
    for (const transceiver of pc.getTransceivers()) {
      const { kind } = transceiver.receiver.track;
      if (transceiver.stopped || offered.has(kind)) continue;
      offered.add(kind);
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#call.stream);
      await transceiver.sender.replaceTrack(this.#call.track(kind));
    }
    if (/^m=application/m.test(offer.sdp)) this.#openChannel(pc);
    await pc.setLocalDescription();
    this.#send('ANSWER', { answer: pc.localDescription });
    await this.#flush(pc);
    for (const kind of KINDS) if (!offered.has(kind)) this.#add(pc, kind);
  }

  async #answered(answer) {
    const pc = this.#pc;
    // A repeated answer, or one to an offer that was taken back. A repeated one may come after the next offer, to which the answer
    // has other credentials or other tracks.
    if (pc?.signalingState !== 'have-local-offer' || answer.sdp === this.#answerSdp) return;
    this.#answerSdp = answer.sdp;
    await pc.setRemoteDescription(answer);
    this.#restarting = false;
    await this.#flush(pc);
  }

  async #addCandidate(candidate) {
    const pc = this.#pc;
    if (pc?.remoteDescription) await this.#take(pc, candidate);
    else if (this.#candidates.length < MAX_EARLY_CANDIDATES) this.#candidates.push(candidate);
  }

  async #flush(pc) {
    const candidates = this.#candidates;
    this.#candidates = [];
    for (const candidate of candidates) await this.#take(pc, candidate);
  }

  async #take(pc, candidate) {
    try {
      await pc.addIceCandidate(candidate ?? undefined);
    } catch {
      // It belongs to an offer that was taken back, or to an earlier connection.
    }
  }

  #send(type, fields) {
    Promise.resolve(this.#call.send(type, { to: this.userId, ...fields })).catch(() => {
      this.stale = true;
    });
  }

  // -- recovery

  #enter(state) {
    if (this.state === state) return;
    this.state = state;
    this.#call.changed(this);
  }

  #watch(pc) {
    switch (pc.connectionState) {
      case 'connected':
        this.#call.environment.clearTimeout(this.#timer);
        this.#attempts = 0;
        this.#enter('connected');
        this.tell();
        break;
      case 'disconnected':
        this.#enter('reconnecting');
        this.#later(this.#options.recoverWithinMs, () => this.restart());
        break;
      case 'failed':
        this.#enter('reconnecting');
        this.#later(0, () => this.restart());
        break;
    }
  }

  // Look for another way to the member: the network has changed.
  restart() {
    this.#enqueue(() => this.#pc && this.#restart(this.#pc));
  }

  async #restart(pc) {
    pc.setConfiguration(await this.#call.configuration());
    this.#restarting = true;
    pc.restartIce();
    await this.#sendOffer(pc);
    this.#await();
  }

  // Have the connection made again unless it opens in time.
  #await() {
    const { connectWithinMs, connectLimitMs } = this.#options;
    this.#wait(Math.min(connectLimitMs, connectWithinMs * 2 ** this.#attempts));
  }

  #wait(ms) {
    this.#later(ms, () => {
      // An ICE restart does not interrupt a connection that works.
      if (this.#pc?.connectionState === 'connected') return;
      this.#attempts += 1;
      if (this.modern) this.offer();
      else this.#call.silent(this);
    });
  }

  #later(ms, run) {
    this.#call.environment.clearTimeout(this.#timer);
    this.#timer = this.#call.environment.setTimeout(() => !this.#closed && run(), ms + (this.#polite ? this.#options.courtesyMs : 0));
  }
}
