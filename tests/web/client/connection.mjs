// The connection, with simulated time and a socket whose server is the test.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Connection, ServerClock } from '../../../tandemd/web/client/index.js';
import { SimulatedTime } from './support.mjs';

const STATE = { type: 'ROOM_STATE', roomId: 'r', serverTime: 0, token: 'secret' };

class Socket {
  static opened = [];
  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = url;
    this.constructor.opened.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  // -- the server's side

  open() {
    this.readyState = 1;
    this.onopen();
  }

  // Open, and answer JOIN.
  enter() {
    this.open();
    this.tell(STATE);
  }

  tell(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  lose() {
    this.readyState = 3;
    this.onclose();
  }

  of(type) {
    return this.sent.filter((message) => message.type === type);
  }

  // Answer all PINGs.
  pong() {
    for (const ping of this.of('PING').slice(this.ponged)) this.tell({ type: 'PONG', timestamp: 0, t0: ping.t0 });
    this.ponged = this.of('PING').length;
  }
  ponged = 0;
}

function connected(options) {
  const opened = [];
  const document = new EventTarget();
  class TestSocket extends Socket {
    static opened = opened;
  }
  const time = new SimulatedTime({ WebSocket: TestSocket, document });
  const clock = new ServerClock(time.environment);
  const join = () => ({ roomId: 'r', userId: 'ann', resume: { epoch: 1, seq: 2 } });
  const connection = new Connection({ url: 'ws://x/ws', join, clock, environment: time.environment, options });
  const states = [];
  connection.on('state', (state, error) => states.push([state, error?.code ?? null]));
  const problems = [];
  connection.on('problem', (error) => problems.push(error));
  connection.start();
  // Pass time with a server that answers PINGs.
  const live = async (ms) => {
    for (const end = time.now + ms; time.now < end; ) {
      await time.pass(100);
      if (opened.at(-1).readyState === 1) opened.at(-1).pong();
    }
  };
  return { time, live, connection, opened, states, problems, document };
}

const result = (promise) => promise.then((ack) => ack.seq, (error) => `${error.name} ${error.code}`);

test('a command is resolved, rejected by the server, or fails after its time', async () => {
  const { live, connection, opened } = connected();
  opened[0].enter();
  const results = [connection.command({ type: 'CHAT' }), connection.command({ type: 'SEEK' }), connection.command({ type: 'KICK' })];
  const [chat, seek] = opened[0].sent.slice(-3);
  opened[0].tell({ type: 'ACK', id: chat.id, seq: 7 });
  opened[0].tell({ type: 'ERROR', id: seek.id, code: 'forbidden', message: 'No.' });
  const settled = Promise.all(results.map(result));
  await live(10_100);
  assert.deepEqual(await settled, [7, 'CommandError forbidden', 'TimeoutError no_answer']);
  const lost = result(connection.command({ type: 'CHAT' }, { withinMs: 3000 }));
  opened[0].lose();
  await live(3100);
  assert.equal(await lost, 'TimeoutError lost');
});

test('commands are sent again with their ids, eight at a time, in order', async () => {
  const { live, connection, opened } = connected();
  opened[0].enter();
  const results = Array.from({ length: 20 }, (_, i) => connection.command({ type: 'CHAT', text: `${i}` }));
  const texts = (socket) => socket.of('CHAT').map(({ text }) => Number(text));
  assert.deepEqual(texts(opened[0]), [0, 1, 2, 3, 4, 5, 6, 7]);
  const ids = opened[0].of('CHAT').map(({ id }) => id);
  opened[0].tell({ type: 'ACK', id: ids[1], seq: 1 });
  opened[0].tell({ type: 'ACK', id: ids[0], seq: 1 });
  assert.deepEqual(texts(opened[0]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  opened[0].lose();
  await live(1000);
  opened[1].enter();
  assert.deepEqual(texts(opened[1]), [2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(opened[1].of('CHAT').slice(0, 6).map(({ id }) => id), ids.slice(2));
  while (opened[1].of('CHAT').length < 18 || opened[1].answered !== 18) {
    opened[1].answered = opened[1].of('CHAT').length;
    for (const { id } of opened[1].of('CHAT')) opened[1].tell({ type: 'ACK', id, seq: 1 });
  }
  assert.equal((await Promise.all(results)).length, 20);
});

test('JOIN brings token and resume as soon as there is a token', async () => {
  const { live, opened } = connected();
  opened[0].enter();
  opened[0].lose();
  await live(1000);
  opened[1].open();
  const [first, second] = [opened[0].of('JOIN')[0], opened[1].of('JOIN')[0]];
  assert.deepEqual([first.token, first.resume], [undefined, undefined]);
  assert.deepEqual([second.token, second.resume], ['secret', { epoch: 1, seq: 2 }]);
  assert.equal(first.nonce, second.nonce);
  assert.ok(second.id > first.id);
});

test('attempts come less and less often, and at once when asked for', async () => {
  const { time, connection, opened, document } = connected({ backOffMs: 1000, backOffLimitMs: 8000 });
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    opened.at(-1).lose();
    waits.push(connection.retryAt - time.now);
    await time.pass(8100);
  }
  waits.forEach((wait, i) => {
    const limit = Math.min(8000, 1000 * 2 ** i);
    assert.ok(wait >= limit / 2 && wait <= limit, `${i}: ${wait}`);
  });
  opened.at(-1).lose();
  const before = opened.length;
  connection.retryNow();
  assert.equal(opened.length, before + 1);
  opened.at(-1).lose();
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(opened.length, before + 2);
});

test('a server that restarts says when to come back', async () => {
  const { time, connection, opened } = connected();
  opened[0].enter();
  opened[0].tell({ type: 'SERVER_RESTART', reconnectAfterMs: 5000 });
  opened[0].lose();
  const wait = connection.retryAt - time.now;
  assert.ok(wait >= 5000 && wait <= 5200, `${wait}`);
});

test('a connection without PONG, or that does not open, is given up', async () => {
  const { time, opened, states } = connected();
  opened[0].enter();
  await time.pass(10_500);
  assert.equal(opened.length, 2);
  await time.pass(12_000);
  assert.equal(opened.length, 3);
  assert.deepEqual(states.at(-1), ['reconnecting', null]);
});

test('a refused JOIN is an error with a code, for all that wait', async () => {
  const { connection, opened } = connected();
  const joined = result(connection.joined());
  const chat = result(connection.command({ type: 'CHAT' }));
  opened[0].open();
  opened[0].tell({ type: 'ERROR', id: opened[0].of('JOIN')[0].id, code: 'bad_pin', message: 'No.' });
  assert.deepEqual(await Promise.all([joined, chat]), ['RoomError bad_pin', 'RoomError bad_pin']);
  assert.equal(await result(connection.command({ type: 'CHAT' })), 'RoomError bad_pin');
  connection.join();
  opened[0].tell(STATE);
  assert.equal(connection.state, 'connected');
  await connection.joined();
});

test('a JOIN that waits is granted later, and a late one fails', async () => {
  const { live, connection, opened, states } = connected();
  opened[0].open();
  opened[0].tell({ type: 'ERROR', id: opened[0].of('JOIN')[0].id, code: 'locked', message: 'No.' });
  assert.deepEqual(states.at(-1), ['waiting', 'locked']);
  const joined = result(connection.joined({ withinMs: 1000 }));
  await live(1100);
  assert.equal(await joined, 'TimeoutError lost');
  opened[0].tell(STATE);
  assert.equal(connection.state, 'connected');
});

test('a connection that is counted out comes back once, then another tab speaks', async () => {
  const { live, connection, opened, states } = connected();
  opened[0].enter();
  const chat = result(connection.command({ type: 'CHAT' }));
  const detached = { type: 'ERROR', id: opened[0].of('CHAT')[0].id, code: 'detached', message: 'No.' };
  opened[0].tell(detached);
  assert.equal(opened[0].of('JOIN').length, 2);
  opened[0].tell(STATE);
  assert.equal(opened[0].of('CHAT').length, 2);
  opened[0].tell(detached);
  assert.equal(await chat, 'RoomError detached');
  assert.deepEqual(states.at(-1), ['elsewhere', 'detached']);
  await live(60_000);
  assert.equal(opened.length, 1);
  connection.join();
  opened[0].tell(STATE);
  assert.equal(connection.state, 'connected');
});

test('a removed member gets the reason, and comes back only by its own wish', async () => {
  for (const [message, code] of [
    [{ type: 'KICKED', reason: 'loud', retryAfterMs: 300_000 }, 'kicked'],
    [{ type: 'KICKED', banned: true }, 'banned'],
    [{ type: 'ROOM_CLOSED', reason: 'late' }, 'closed'],
  ]) {
    const { live, connection, opened } = connected();
    opened[0].enter();
    const seen = [];
    connection.on('message', (one) => seen.push(one.type));
    opened[0].tell(message);
    opened[0].tell({ type: 'USER_LEFT', userId: 'bob' });
    const { error } = connection;
    assert.deepEqual([error.code, error.reason, error.wasIn], [code, message.reason, true]);
    assert.deepEqual(seen, []);
    await live(400_000);
    assert.equal(opened[0].of('JOIN').length, 1);
  }
});

test('garbage is a problem, and the connection goes on', async () => {
  const { connection, opened, problems } = connected();
  opened[0].enter();
  const texts = ['', '{', 'null', '[]', '12', '"x"', '{}', '{"type":1}', '{"type":null}'];
  for (const data of texts) opened[0].onmessage({ data });
  assert.equal(problems.length, texts.length);
  assert.ok(problems.every(({ name, code }) => name === 'ProtocolError' && code === 'bad_answer'));
  for (const type of ['PONG', 'ACK', 'ERROR', 'SERVER_RESTART', 'UNKNOWN']) opened[0].tell({ type });
  const chat = connection.command({ type: 'CHAT' });
  opened[0].tell({ type: 'ACK', id: opened[0].of('CHAT')[0].id, seq: 3 });
  assert.equal((await chat).seq, 3);
});

test('after the end nothing waits any more', async () => {
  for (const end of ['leave', 'close']) {
    const { time, connection, opened } = connected();
    opened[0].enter();
    const chat = result(connection.command({ type: 'CHAT' }));
    connection[end]();
    assert.equal(await chat, 'RoomError left');
    assert.equal(opened[0].of('LEAVE').length, end === 'leave' ? 1 : 0);
    assert.equal(time.timers, 0);
    connection.start();
    opened[1].enter();
    assert.equal(connection.state, 'connected');
  }
});

test('an error of a listener reaches neither the library nor the other listeners', (context) => {
  const { connection, opened } = connected();
  const thrown = [];
  context.mock.method(Promise, 'reject', (error) => thrown.push(error.message));
  let heard = 0;
  const end = connection.on('message', () => {
    throw new Error('mine');
  });
  connection.on('message', () => (heard += 1));
  opened[0].enter();
  end();
  opened[0].tell({ type: 'CHAT' });
  assert.deepEqual([connection.state, heard, thrown], ['connected', 2, ['mine']]);
});
