// Links with a delay, with jitter, and with losses of the connection: real ones between a client and the daemon, and a model.

import net from 'node:net';

// Keeps the order, as TCP does. delayMs: one way. jitterMs: by how much one delay may differ from another.
class Delays {
  #time;
  #random;
  #spec;
  #last = 0;
  #waiting = [];

  constructor(time, random, spec) {
    this.#time = time;
    this.#random = random;
    this.#spec = spec;
  }

  // Call deliver() after a delay.
  pass(deliver) {
    const { delayMs, jitterMs } = this.#spec;
    const now = this.#time.now();
    const due = now + Math.max(0, delayMs + this.#random.between(-jitterMs, jitterMs));
    this.#last = Math.max(this.#last, due);
    this.#waiting.push(deliver);
    // Two timers may come in the wrong order; it is always the first one's turn.
    this.#time.setTimeout(() => this.#waiting.shift()(), this.#last - now);
  }
}

// A port of 127.0.0.1 that stands for a port of the daemon. A delay holds for all that a connection carries, pings too.
export class Link {
  #server;
  #sockets = new Set();
  #upAt = 0;
  #time;

  constructor(time, random, spec, port) {
    this.#time = time;
    this.#server = net.createServer((near) => {
      if (time.now() < this.#upAt) {
        near.destroy();
        return;
      }
      const far = net.connect({ port, host: '127.0.0.1' });
      this.#forward(near, far, new Delays(time, random, spec));
      this.#forward(far, near, new Delays(time, random, spec));
    });
  }

  // Return the port.
  open() {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => resolve(this.#server.address().port));
    });
  }

  // Lose all connections, and refuse others for so long.
  cut(ms) {
    this.#upAt = this.#time.now() + ms;
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.cut(0);
    this.#server.close();
  }

  #forward(from, to, delays) {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (data) => delays.pass(() => to.destroyed || to.write(data)));
    from.on('end', () => delays.pass(() => to.end()));
    from.on('error', () => {});
    from.on('close', (failed) => {
      this.#sockets.delete(from);
      // What is still to be written to the other side is not lost by an end.
      delays.pass(() => (failed ? to.destroy() : to.end()));
    });
  }
}

// The same for a model, without sockets. A lost connection drops all messages that are sent meanwhile.
export class LinkModel {
  #time;
  #upAt = -Infinity;
  #there;
  #back;
  spec;

  constructor(time, random, spec) {
    this.#time = time;
    this.spec = spec;
    this.#there = new Delays(time, random, spec);
    this.#back = new Delays(time, random, spec);
  }

  get up() {
    return this.#time.now() >= this.#upAt;
  }

  toServer(deliver) {
    if (this.up) this.#there.pass(deliver);
  }

  toClient(deliver) {
    if (this.up) this.#back.pass(() => this.up && deliver());
  }

  // back(): is called when the connection has been made again.
  cut(ms, back) {
    this.#upAt = this.#time.now() + ms;
    this.#time.setTimeout(back, ms);
  }
}
