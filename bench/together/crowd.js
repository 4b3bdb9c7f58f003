// Viewers with the real client library, each behind its own link to a real daemon.

import { Environment, Party } from '../../tandemd/web/client/index.js';
import { Link } from './links.js';
import { SimulatedPlayer } from './player.js';

const TITLE = 'https://tandemd.invalid/clip';
const PATIENCE_MS = 60_000;
const LEAVING_MS = 1000;

export class Crowd {
  name = 'tandemd';
  viewers = [];
  #time;
  #random;
  #port;
  #room;
  #joined = 0;

  constructor(time, random, port, room) {
    this.#time = time;
    this.#random = random;
    this.#port = port;
    this.#room = room;
  }

  async open(specs) {
    const host = await this.join(specs[0]);
    await host.party.show(TITLE);
    await Promise.all(specs.slice(1).map((spec) => this.join(spec)));
  }

  // Return a new viewer, which has joined.
  async join(spec) {
    const link = new Link(this.#time, this.#random, spec.link, this.#port);
    const player = new SimulatedPlayer(this.#time, this.#random, spec);
    const party = new Party({
      url: `ws://127.0.0.1:${await link.open()}/ws`,
      roomId: this.#room,
      userId: `viewer${this.#joined}`,
      media: player,
      environment: environmentOf(spec),
    });
    this.#joined += 1;
    const viewer = { player, link, party };
    this.viewers.push(viewer);
    party.start();
    await party.joined({ withinMs: PATIENCE_MS });
    return viewer;
  }

  leave(viewer) {
    this.viewers.splice(this.viewers.indexOf(viewer), 1);
    viewer.party.leave();
    // Its last message is still on its way.
    this.#time.setTimeout(() => viewer.link.close(), LEAVING_MS);
  }

  play() {
    this.viewers[0].party.play().catch(report);
  }

  pause() {
    this.viewers[0].party.pause().catch(report);
  }

  seek(position) {
    this.viewers[0].party.seek(position).catch(report);
  }

  cut(viewer, ms) {
    viewer.link.cut(ms);
  }

  close() {
    for (const viewer of [...this.viewers]) this.leave(viewer);
  }
}

function report(error) {
  process.stderr.write(`a control failed: ${error}\n`);
}

// A device whose clock is wrong by clockMs, and runs too fast by ppm.
function environmentOf({ clockMs, ppm }) {
  const now = () => performance.now() * (1 + ppm / 1e6) + clockMs;
  return new Environment({ performance: { now }, Date: { now: () => Date.now() + clockMs } });
}
