// What tests against a real daemon share. TANDEMD_URL: of its /ws.

import net from 'node:net';

import { Environment, Party } from '../../../tandemd/web/client/index.js';

export const URL_OF_SERVER = process.env.TANDEMD_URL;
// After this long, an event that a test waits for is taken for one that does not come.
const PATIENCE_MS = 60_000;
const TITLE = 'https://tandemd.invalid/clip';

// Wait until condition() is true, and return its value.
export async function until(what, condition) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    const value = condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
}

// A media element in real time. startMs, seekMs: how long play() and seeks take.
export class LiveVideo extends EventTarget {
  paused = true;
  seeking = false;
  ended = false;
  readyState = 4;
  duration = 5400;
  #rate = 1;
  #position = 0;
  #from = 0;

  constructor({ startMs = 30, seekMs = 40 } = {}) {
    super();
    Object.assign(this, { startMs, seekMs });
  }

  get currentTime() {
    const passed = this.paused || this.seeking ? 0 : Math.max(0, performance.now() - this.#from);
    return this.#position + (passed / 1000) * this.#rate;
  }

  set currentTime(position) {
    this.#position = position;
    this.seeking = true;
    setTimeout(() => {
      this.seeking = false;
      this.#from = performance.now();
      this.dispatchEvent(new Event('seeked'));
    }, this.seekMs);
  }

  get playbackRate() {
    return this.#rate;
  }

  set playbackRate(rate) {
    const position = this.currentTime;
    this.#from = Math.max(this.#from, performance.now());
    this.#position = position;
    this.#rate = rate;
  }

  async play() {
    this.#from = performance.now() + this.startMs;
    this.paused = false;
    this.dispatchEvent(new Event('play'));
  }

  pause() {
    this.#position = this.currentTime;
    this.paused = true;
    this.dispatchEvent(new Event('pause'));
  }

  removeAttribute() {}

  load() {}
}

let rooms = 0;

// Return a party. given: for Party.
export function party(userId, { options, ...given } = {}) {
  const patient = { commandWithinMs: 5 * PATIENCE_MS, chatWithinMs: 5 * PATIENCE_MS, ...options };
  const roomId = `room-${process.pid}-${rooms}`;
  return new Party({ url: URL_OF_SERVER, roomId, userId, username: userId, options: patient, ...given });
}

// Return a host and a guest of a new room that are both in it, with a title.
export async function pair(context, { host = {}, guest = {} } = {}) {
  rooms += 1;
  const [ann, bob] = [party('ann', { media: new LiveVideo(), ...host }), party('bob', { media: new LiveVideo(), ...guest })];
  context.after(() => [ann, bob].forEach((one) => one.close()));
  ann.start();
  await ann.joined({ withinMs: PATIENCE_MS });
  bob.start();
  await bob.joined({ withinMs: PATIENCE_MS });
  await ann.show(TITLE);
  await until('the title', () => bob.room.url === TITLE);
  return [ann, bob];
}

/*
 * A TCP proxy before the daemon. cut(): ends all connections; hold('up' or 'down'): lets nothing more through in this
 * direction of the connections that are open now.
 */
export class Proxy {
  #sockets = new Set();
  #server;

  static async open() {
    const proxy = new Proxy();
    const { hostname, port, pathname } = new URL(URL_OF_SERVER);
    proxy.#server = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);
      const link = { near, far, up: true, down: true };
      proxy.#sockets.add(link);
      near.on('data', (data) => link.up && far.write(data));
      far.on('data', (data) => link.down && near.write(data));
      for (const [one, other] of [[near, far], [far, near]]) {
        one.on('error', () => {});
        one.on('close', () => {
          proxy.#sockets.delete(link);
          other.destroy();
        });
      }
    });
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    proxy.url = `ws://127.0.0.1:${proxy.#server.address().port}${pathname}`;
    return proxy;
  }

  hold(direction) {
    for (const link of this.#sockets) link[direction] = false;
  }

  cut() {
    for (const { near, far } of this.#sockets) {
      near.destroy();
      far.destroy();
    }
  }

  close() {
    this.cut();
    this.#server.close();
  }
}

export { Environment };
