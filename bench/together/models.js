// Models of the rules by which other programs keep players together, on simulated time. They have the same players and links as
// the client library. They are no measurements of those programs: a model has the rules that their sources state, without bugs,
// without the load of a machine, and with a server that takes no time.

import { LinkModel } from './links.js';
import { SimulatedPlayer } from './player.js';

const TICK_MS = 250;
// Before a client opens a lost connection again.
const BACK_OFF_MS = 400;

// What the models share: a room's timeline on a server whose clock is right, and viewers with a player and a link each.
class Model {
  viewers = [];
  position = 0;
  at = 0;
  playing = false;
  // While it waits for players that seek or stall: those that are not ready. Else null.
  waiting = null;

  constructor(name, time, random) {
    this.name = name;
    this.time = time;
    this.random = random;
  }

  async open(specs) {
    for (const spec of specs) this.join(spec);
  }

  join(spec) {
    const viewer = {
      player: new SimulatedPlayer(this.time, this.random, spec),
      link: new LinkModel(this.time, this.random, spec.link),
      // The difference by which the client misjudges the clock of the server.
      clockError: this.#clockError(spec.link),
      gone: false,
    };
    this.viewers.push(viewer);
    viewer.player.addEventListener('seeked', () => viewer.seeked?.());
    this.#tick(viewer);
    viewer.link.toServer(() => this.joined(viewer));
    return viewer;
  }

  leave(viewer) {
    viewer.gone = true;
    this.viewers.splice(this.viewers.indexOf(viewer), 1);
  }

  cut(viewer, ms) {
    viewer.link.cut(ms + BACK_OFF_MS, () => viewer.link.toServer(() => this.joined(viewer)));
  }

  close() {}

  // -- on the server

  get now() {
    return this.time.now();
  }

  roomPosition(now = this.now) {
    return this.playing ? this.position + Math.max(0, now - this.at) / 1000 : this.position;
  }

  set(position, playing, at = this.now) {
    Object.assign(this, { position, playing, at });
  }

  // handle(viewer): what a client does when the message arrives.
  broadcast(handle, except = null) {
    for (const viewer of this.viewers) {
      if (viewer !== except) viewer.link.toClient(() => viewer.gone || handle(viewer));
    }
  }

  // Wait until the players have sought and have data; then call opened().
  gate(viewers, opened) {
    const waiting = new Set(viewers);
    this.waiting = waiting;
    for (const viewer of viewers) this.#whenReady(viewer, () => {
      waiting.delete(viewer);
      if (waiting.size || this.waiting !== waiting) return;
      this.waiting = null;
      opened();
    });
  }

  #whenReady(viewer, tell) {
    if (viewer.gone) tell();
    else if (viewer.link.up && viewer.player.readyState >= 3 && viewer.player.paused) viewer.link.toServer(tell);
    else this.time.setTimeout(() => this.#whenReady(viewer, tell), 50);
  }

  // -- on the client

  // Do what a message says, which has just come. beyond: the distance in seconds from which on the player seeks.
  follow(viewer, { position, playing }, beyond) {
    const { player } = viewer;
    if (Math.abs(player.currentTime - position) > beyond) player.currentTime = position;
    if (playing) player.play();
    else player.pause();
  }

  #tick(viewer) {
    if (viewer.gone) return;
    this.tick(viewer);
    this.time.setTimeout(() => this.#tick(viewer), TICK_MS * this.random.between(0.9, 1.1));
  }

  tick() {}

  // As NTP does it: of eight round trips the shortest counts.
  #clockError({ delayMs, jitterMs }) {
    const delay = () => Math.max(0, delayMs + this.random.between(-jitterMs, jitterMs));
    const trips = Array.from({ length: 8 }, () => [delay(), delay()]);
    const [there, back] = trips.reduce((best, trip) => (trip[0] + trip[1] < best[0] + best[1] ? trip : best));
    return (there - back) / 2;
  }
}

/*
 * Syncplay: the room is where its slowest player is. The server tells it once a second. A client adds the time that a message
 * takes, by the mean of its pings. It slows down to 95 % if it is more than 1.5 s ahead, until it is within 0.1 s; sets itself
 * back at 4 s, and forward at 5 s. Controls count when they arrive.
 */
class Syncplay extends Model {
  #slow = new Set();

  joined(viewer) {
    const tell = () => {
      if (viewer.gone) return;
      const [position, playing] = [this.#slowest(), this.playing];
      viewer.link.toClient(() => this.#told(viewer, position, playing));
    };
    tell();
    if (viewer.told) return;
    viewer.told = true;
    const every = () => {
      if (viewer.gone) return;
      tell();
      this.time.setTimeout(every, 1000);
    };
    this.time.setTimeout(every, 1000 * this.random.next());
  }

  // The server knows positions from the reports of the clients, once a second, and extrapolates.
  #slowest() {
    if (!this.playing) return this.position;
    const reports = this.viewers.map(({ report }) => report).filter(Boolean);
    const positions = reports.map(({ position, at }) => position + (this.now - at) / 1000);
    return positions.length ? Math.min(...positions) : this.roomPosition();
  }

  #told(viewer, position, playing) {
    const { player, link } = viewer;
    const there = playing ? position + link.spec.delayMs / 1000 : position;
    if (playing === player.paused) {
      if (!playing || Math.abs(player.currentTime - there) > 1) player.currentTime = there;
      this.follow(viewer, { position: there, playing }, Infinity);
    } else if (playing) {
      const ahead = player.currentTime - there;
      if (ahead > 4 || ahead < -5) player.currentTime = there + (ahead < 0 ? 0.25 : 0);
      if (ahead > 1.5) this.#slow.add(viewer);
      else if (ahead < 0.1) this.#slow.delete(viewer);
      player.playbackRate = this.#slow.has(viewer) ? 0.95 : 1;
    }
    const reported = player.currentTime;
    link.toServer(() => (viewer.report = { position: reported + link.spec.delayMs / 1000, at: this.now }));
  }

  #control(playing, position) {
    const [presser] = this.viewers;
    this.follow(presser, { position, playing }, 1);
    presser.link.toServer(() => {
      this.set(position, playing);
      for (const viewer of this.viewers) viewer.report = { position, at: this.now };
      this.broadcast((viewer) => {
        const there = playing ? position + viewer.link.spec.delayMs / 1000 : position;
        if (!playing || Math.abs(viewer.player.currentTime - there) > 1) viewer.player.currentTime = there;
        this.follow(viewer, { position: there, playing }, Infinity);
      }, presser);
    });
  }

  play() {
    this.#control(true, this.viewers[0].player.currentTime);
  }

  pause() {
    this.#control(false, this.viewers[0].player.currentTime);
  }

  seek(position) {
    this.#control(true, position);
  }
}

/*
 * Jellyfin: a start is at now + max(2 x ping, 500 ms), by a clock as NTP finds it. After a seek, and after a stall of a second, the
 * group waits until all are ready. With the correction on, a client that is off by 60 ms to 3 s plays faster or slower for a
 * second so as to get there; it looks every 250 ms, from 1.5 s after a start.
 */
class Jellyfin extends Model {
  corrects = false;

  joined(viewer) {
    const [position, playing, at] = [this.position, this.playing, this.at];
    viewer.link.toClient(() => {
      if (!playing) this.follow(viewer, { position, playing }, 0.5);
      // A client that was away for a moment knows this start.
      else if (viewer.start?.at !== at) this.#start(viewer, position, at);
    });
  }

  play() {
    this.viewers[0].link.toServer(() => this.#schedule());
  }

  pause() {
    this.viewers[0].link.toServer(() => {
      this.set(this.roomPosition(), false);
      const { position } = this;
      this.broadcast((viewer) => this.#stop(viewer, position));
    });
  }

  seek(position) {
    this.viewers[0].link.toServer(() => this.#wait(position));
  }

  #wait(position) {
    this.set(position, false);
    this.broadcast((viewer) => this.#stop(viewer, position));
    this.gate([...this.viewers], () => this.#schedule());
  }

  #schedule() {
    const ping = Math.max(...this.viewers.map(({ link }) => 2 * link.spec.delayMs));
    this.set(this.position, true, this.now + Math.max(2 * ping, 500));
    const { position, at } = this;
    this.broadcast((viewer) => this.#start(viewer, position, at));
  }

  #stop(viewer, position) {
    this.time.clearTimeout(viewer.starting);
    viewer.start = null;
    viewer.player.playbackRate = 1;
    viewer.player.pause();
    if (Math.abs(viewer.player.currentTime - position) > 0.01) viewer.player.currentTime = position;
  }

  // A start that is over already is made up for by a seek.
  #start(viewer, position, at) {
    const { player, clockError } = viewer;
    const wait = at - this.now - clockError;
    this.time.clearTimeout(viewer.starting);
    viewer.start = { position, at };
    if (wait < 0) {
      player.currentTime = position - wait / 1000;
      player.play();
    } else {
      if (Math.abs(player.currentTime - position) > 0.5) player.currentTime = position;
      viewer.starting = this.time.setTimeout(() => player.play(), wait);
    }
  }

  tick(viewer) {
    const { player, start, clockError } = viewer;
    const { now } = this;
    if (player.readyState < 3 && !player.paused) {
      viewer.stalledAt ??= now;
      if (now - viewer.stalledAt > 1000 && !this.waiting) {
        viewer.stalledAt = now;
        viewer.link.toServer(() => this.playing && !this.waiting && this.#wait(this.roomPosition()));
      }
      return;
    }
    viewer.stalledAt = null;
    if (!this.corrects || !start || player.paused || now - start.at < 1500 || now < (viewer.correctsUntil ?? 0)) return;
    const behind = start.position + (now + clockError - start.at) / 1000 - player.currentTime;
    if (Math.abs(behind) < 0.06 || Math.abs(behind) > 3) return;
    player.playbackRate = Math.max(0.2, 1 + behind);
    viewer.correctsUntil = now + 1000;
    this.time.setTimeout(() => (player.playbackRate = 1), 1000);
  }
}

class JellyfinWithCorrection extends Jellyfin {
  corrects = true;
}

// OpenTogetherTube: a client takes the position of a message as that of the moment when it arrives, and seeks beyond 1 s.
class OpenTogetherTube extends Model {
  joined(viewer) {
    this.#tell(viewer);
  }

  #tell(viewer) {
    const [position, playing] = [this.roomPosition(), this.playing];
    viewer.link.toClient(() => {
      viewer.state = { position, playing, at: this.now };
      this.follow(viewer, { position, playing }, 1);
    });
  }

  #control(change) {
    this.viewers[0].link.toServer(() => {
      change();
      for (const viewer of this.viewers) this.#tell(viewer);
    });
  }

  play() {
    this.#control(() => this.set(this.position, true));
  }

  pause() {
    this.#control(() => this.set(this.roomPosition(), false));
  }

  seek(position) {
    this.#control(() => this.set(position, true));
  }

  tick({ player, state }) {
    if (!state || player.seeking || !player.moves(this.now)) return;
    const there = state.position + (this.now - state.at) / 1000;
    if (Math.abs(player.currentTime - there) > 1) player.currentTime = there;
  }
}

/*
 * The tandem.watch extension: the presser's player acts at once, and those of the others when the message arrives. The host's
 * position comes every 3 s, and a client seeks beyond 0.5 s. After a seek all wait until the last is ready.
 */
class Extension extends Model {
  joined(viewer) {
    const [position, playing] = [this.viewers[0].player.currentTime, this.playing];
    if (viewer !== this.viewers[0]) viewer.link.toClient(() => this.follow(viewer, { position, playing }, 0.5));
  }

  #control(playing) {
    const [presser] = this.viewers;
    const position = presser.player.currentTime;
    this.follow(presser, { position, playing }, Infinity);
    presser.link.toServer(() => {
      this.set(position, playing);
      this.broadcast((viewer) => this.follow(viewer, { position, playing }, 0.5), presser);
    });
  }

  play() {
    this.#control(true);
  }

  pause() {
    this.#control(false);
  }

  seek(position) {
    const [presser] = this.viewers;
    presser.link.toServer(() => {
      this.set(position, false);
      this.broadcast((viewer) => {
        viewer.player.pause();
        viewer.player.currentTime = position;
      });
      this.gate([...this.viewers], () => {
        this.set(position, true);
        this.broadcast((viewer) => viewer.player.play());
      });
    });
  }

  tick(viewer) {
    if (viewer !== this.viewers[0] || this.now - (viewer.beat ?? -Infinity) < 3000 || !viewer.player.moves(this.now)) return;
    viewer.beat = this.now;
    const position = viewer.player.currentTime;
    viewer.link.toServer(() => {
      this.broadcast((other) => {
        if (Math.abs(other.player.currentTime - position) >= 0.5) this.follow(other, { position, playing: true }, 0);
      }, viewer);
    });
  }
}

// By the name in the table.
export const MODELS = {
  'Syncplay (model)': Syncplay,
  'Jellyfin (model)': Jellyfin,
  'Jellyfin with correction (model)': JellyfinWithCorrection,
  'OpenTogetherTube (model)': OpenTogetherTube,
  'tandem.watch extension (model)': Extension,
};
