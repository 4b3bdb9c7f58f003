// The page's modules that need no browser, by `node` in a directory with all of them. See test_page.py.

import assert from 'node:assert/strict';
import test from 'node:test';

import { ServerClock } from './clock.js';
import { Hosting } from './host-actions.js';
import { refusal, sentOut, span, waiting } from './error-texts.js';
import { Player } from './player.js';
import { Room } from './room-state.js';
import { Ticket, tokenIn } from './auth-token.js';
import { isolated, shownAddress, webAddress } from './text.js';

const STATE = {
  type: 'ROOM_STATE', roomId: 'r', url: '', currentTime: 0, isPlaying: false, hostUserId: 'ann', guestControlEnabled: false,
  users: [{ userId: 'ann', username: 'Ann' }, { userId: 'bob', username: 'Bob' }], epoch: 1, seq: 5, prev: 5, serverTime: 0,
};

function entered(state = {}) {
  const room = new Room();
  room.apply({ ...STATE, ...state });
  return room;
}

function signed(claims) {
  return `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sign`;
}

test('the clock follows a server whose clock runs faster for a while', () => {
  const clock = new ServerClock();
  const ahead = () => clock.now() - performance.now();
  for (let at = 0; at < 60_000; at += 15_000) clock.sample(at, at + 20, at + 10 + 5000);
  assert.ok(Math.abs(ahead() - 5000) < 1);
  for (let at = 60_000, offset = 5750; at < 120_000; at += 15_000, offset += 750) {
    clock.sample(at, at + 100, at + 50 + offset);
    assert.ok(Math.abs(ahead() - offset) < 1, `${ahead()} ${offset}`);
  }
  // A faster trip that agrees counts for more than a later one.
  clock.sample(120_000, 120_020, 120_010 + 8000);
  clock.sample(135_000, 135_200, 135_100 + 8060);
  assert.ok(Math.abs(ahead() - 8000) < 1);
});

test('a state tells who may control and whether the room is locked', () => {
  const room = entered({ locked: true, controllers: ['bob'] });
  assert.equal(room.locked, true);
  assert.equal(room.mayControl('bob'), true);
  assert.equal(entered().locked, false);
  assert.equal(entered().mayControl('bob'), false);
});

test('the lock follows its messages', () => {
  const room = entered();
  assert.equal(room.apply({ type: 'ROOM_LOCKED', locked: true, seq: 6, prev: 5 }), 'people');
  assert.equal(room.locked, true);
  room.apply({ type: 'ROOM_LOCKED', locked: false, seq: 7, prev: 6 });
  assert.equal(room.locked, false);
});

test('the last list of bans holds, and a new state ends it', () => {
  const room = entered();
  const bans = [{ userId: 'dan', username: 'Dan' }];
  assert.equal(room.apply({ type: 'BANS', bans }), 'people');
  assert.deepEqual(room.bans, bans);
  assert.equal(room.seq, 5);
  room.apply(STATE);
  assert.deepEqual(room.bans, []);
  room.apply({ type: 'BANS', bans });
  room.apply({ type: 'HOST_CHANGED', hostUserId: 'bob', seq: 6, prev: 5 });
  assert.deepEqual(room.bans, []);
});

test('a kicked member that is back controls nothing', () => {
  const room = entered({ controllers: ['bob'] });
  room.apply({ type: 'USER_LEFT', userId: 'bob', reason: 'kicked', seq: 6, prev: 5 });
  room.apply({ type: 'USER_JOINED', userId: 'bob', username: 'Bob', seq: 7, prev: 6 });
  assert.equal(room.mayControl('bob'), false);
  assert.deepEqual(room.lines.map((line) => line.text), ['Bob was kicked.', 'Bob has joined.']);
});

test('what the host does is sent as the server wants it', async () => {
  const sent = [];
  const hosting = new Hosting({ command: async (message) => sent.push(message) }, assert.fail);
  await hosting.makeHost('bob');
  await hosting.letGuestsControl(true);
  await hosting.letControl('bob', false);
  await hosting.lock(true);
  await hosting.kick('bob', 'loud');
  await hosting.ban('bob', '', false);
  await hosting.letIn('bob');
  console.log(`SENT ${JSON.stringify(sent)}`);
  assert.equal(sent.length, 7);
});

test('a refused act is told, and is no rejected promise', async () => {
  const told = [];
  const refused = async () => Promise.reject(Object.assign(new Error('of the server'), { code }));
  const hosting = new Hosting({ command: refused }, (text) => told.push(text));
  let code = 'no_such_member';
  await hosting.kick('bob', '');
  await hosting.letIn('bob');
  code = 'forbidden';
  await hosting.lock(true);
  assert.deepEqual(told, ['They have left already.', 'They may join already.', 'of the server']);
});

test('a token says where it leads and who its bearer is', () => {
  const claims = { room: 'class', sub: 'ann', name: 'Ann Möller', role: 'host', exp: 12 };
  const ticket = new Ticket(signed(claims));
  const { roomId, userId, name, hosts, expiresAt, readable } = ticket;
  assert.deepEqual([roomId, userId, name, hosts, expiresAt, readable], ['class', 'ann', 'Ann Möller', true, 12_000, true]);
});

test('what is no token is not readable, and no error', () => {
  const strange = ['x', 'a.b.c', 'a..b', signed(null), signed([]), signed({ room: 1, sub: 'ann' }), signed({ room: 'class' })];
  for (const token of strange) assert.equal(new Ticket(token).readable, false, token);
});

test('the token is found in the fragment', () => {
  assert.equal(tokenIn('#token=a.b-_.c'), 'a.b-_.c');
  assert.equal(tokenIn('#x=1&token=a.b.c'), 'a.b.c');
  for (const hash of ['', '#', '#token', '#token=', '#other=1']) assert.equal(tokenIn(hash), '', hash);
});

test('a missing, a damaged, an expired and another token are told apart', () => {
  const error = { code: 'unauthorized', message: 'JOIN: no.' };
  const said = (ticket) => refusal(error, { pin: '', ticket, now: 5000 });
  assert.match(said(null), /requires a personal link/);
  assert.match(said(new Ticket('x')), /damaged/);
  assert.match(said(new Ticket(signed({ room: 'r', sub: 'a', exp: 5 }))), /has expired/);
  assert.match(said(new Ticket(signed({ room: 'r', sub: 'a', exp: 6 }))), /not valid for this party.*JOIN: no\./);
  // Before the server has told its time, a wrong clock of this computer must not call a link expired.
  const unknown = refusal(error, { pin: '', ticket: new Ticket(signed({ room: 'r', sub: 'a', exp: 5 })), now: null });
  assert.match(unknown, /not valid for this party.*JOIN: no\./);
});

test('a removed member is told why and for how long', () => {
  const said = (error) => refusal(error, { pin: '', ticket: null, now: 0 });
  const kicked = sentOut({ type: 'KICKED', reason: 'loud', retryAfterMs: 300_000 });
  assert.equal(said(kicked), 'The host has removed you from the party. You can come back in 5 minutes. The reason given: “loud”');
  const again = { code: 'kicked', message: 'JOIN: ...', retryAfterMs: 42_001 };
  assert.equal(said(again), 'The host has removed you from the party. You can come back in 43 seconds.');
  assert.equal(said(sentOut({ type: 'KICKED', banned: true })), 'The host has banned you from this party.');
  assert.match(said({ code: 'banned', message: 'JOIN: ...' }), /banned you or your internet address/);
  assert.match(said(sentOut({ type: 'ROOM_CLOSED', reason: 'late' })), /operator of the server has ended this party.*late/);
  assert.equal(said({ code: 'internal', message: 'As it is.' }), 'As it is.');
});

test('a wait is told in round words', () => {
  const waits = [1, 1001, 59_000, 59_001, 60_001, 300_000].map(span);
  assert.deepEqual(waits, ['1 second', '2 seconds', '59 seconds', '1 minute', '2 minutes', '5 minutes']);
  assert.match(waiting({ code: 'locked', message: 'x' }), /locked the party/);
  assert.equal(waiting({ code: 'another', message: 'x' }), 'x');
});

// A video element whose seeks take a while. `seconds` passes for it and for `performance.now()` alike.
class FakeVideo extends EventTarget {
  paused = true;
  // Whether the film goes on behind its duration.
  live = false;
  seeking = false;
  readyState = 4;
  duration = 5400;
  playbackRate = 1;
  seeks = 0;
  played = 0;
  #position = 0;
  #there = -1;
  constructor(slow) {
    super();
    this.slow = slow;
  }
  get currentTime() {
    return this.#position;
  }
  set currentTime(position) {
    this.seeks += 1;
    this.#position = position;
    this.#there = this.slow;
    this.seeking = this.slow > 0;
  }
  get ended() {
    return !this.live && this.#position >= this.duration;
  }
  getAttribute() {
    return 'x';
  }
  async play() {
    this.paused = false;
  }
  pause() {
    this.paused = true;
  }
  pass(seconds) {
    if (this.seeking) {
      this.#there -= seconds;
      this.seeking = this.#there > 0;
    } else if (!this.paused) {
      const before = this.#position;
      this.#position = Math.min(this.duration, before + seconds * this.playbackRate);
      this.played += this.#position - before;
      if (this.ended) this.paused = true;
    }
  }
}

function watching(slow, context, film = {}) {
  globalThis.HTMLMediaElement = { HAVE_METADATA: 1, HAVE_FUTURE_DATA: 3 };
  const timer = context.mock.timers;
  timer.enable({ apis: ['setInterval', 'setTimeout'] });
  let now = 1000;
  context.mock.method(performance, 'now', () => now);
  const video = Object.assign(new FakeVideo(slow), film);
  const events = { intent() {}, blocked() {}, changed() {}, failed() {} };
  const player = new Player(video, () => now, events);
  player.follow({ position: 100, at: now, playing: true });
  const pass = (seconds) => {
    for (let i = 0; i < seconds * 20; i += 1) {
      now += 50;
      video.pass(0.05);
      if (video.live) video.duration += 0.05;
      timer.tick(50);
    }
    return video;
  };
  return { pass, player, room: () => 100 + (now - 1000) / 1000 };
}

test('a player whose seeks take long plays, and gets in step', (context) => {
  for (const slow of [1, 2.5, 4]) {
    const { pass, player } = watching(slow, context);
    const video = pass(42);
    assert.ok(video.played > 30, `${slow}: ${video.played}`);
    assert.ok(video.seeks <= 3, `${slow}: ${video.seeks}`);
    assert.ok(Math.abs(player.drift) < 0.5, `${slow}: ${player.drift}`);
    context.mock.timers.reset();
    context.mock.restoreAll();
  }
});

test('a player that never gets there plays where it is, and tries now and then', (context) => {
  const { pass, player } = watching(10, context);
  const video = pass(120);
  assert.ok(video.played > 50, `${video.played}`);
  assert.ok(video.seeks <= 6, `${video.seeks}`);
  assert.ok(player.telling || video.seeking);
});

test('a player stops at the end of its film', (context) => {
  for (const duration of [110, 60]) {
    const { pass, player } = watching(0.1, context, { duration });
    const video = pass(42);
    assert.equal(video.currentTime, duration);
    assert.ok(video.paused && player.ended && !player.stalled);
    assert.ok(video.seeks <= 2, `${video.seeks}`);
    player.follow({ position: 20, at: 0, playing: false });
    assert.equal(video.currentTime, 20);
    assert.equal(player.ended, false);
    context.mock.timers.reset();
    context.mock.restoreAll();
  }
});

test('a live stream whose duration grows is played where it is', (context) => {
  for (const duration of [4, 90, 130]) {
    const { pass, player } = watching(0.1, context, { duration, live: true });
    const video = pass(42);
    assert.ok(video.played > 35, `${duration}: ${video.played}`);
    assert.ok(video.seeks <= 3, `${duration}: ${video.seeks}`);
    assert.ok(!video.paused && !player.ended);
    context.mock.timers.reset();
    context.mock.restoreAll();
  }
});

test('an address is what the browser reads, and nothing else is one', () => {
  assert.equal(webAddress('Http://Films.Example:80/Film.mp4'), 'http://films.example/Film.mp4');
  assert.equal(webAddress('HTTPS://b\u00fccher.example/a b'), 'https://xn--bcher-kva.example/a%20b');
  for (const text of ['', 'films.example', 'javascript:0', 'https:', 'https://', 'https://a b/', 'ftp://films.example/', 'https:a']) {
    assert.equal(webAddress(text), '', text);
  }
});

test('an address is shown in its letters, unless one is invisible', () => {
  assert.equal(shownAddress('https://films.example/%D1%84%20.mp4'), 'films.example/%D1%84%20.mp4');
  assert.equal(shownAddress('https://films.example/%D1%84.mp4?a=%23'), 'films.example/\u0444.mp4?a=%23');
  for (const url of ['films.example/%E2%80%AE4pm', 'films.example/%zz', 'films.example/%E9', 'films.example/%00']) {
    assert.equal(shownAddress(`https://${url}`), url);
  }
});

test('words from right to left are isolated', () => {
  assert.equal(isolated('loud'), 'loud');
  assert.equal(isolated('\u05e9\u05dc\u05d5\u05dd!'), '\u2068\u05e9\u05dc\u05d5\u05dd!\u2069');
});

test('a note keeps the name that it begins with, for the view to isolate', () => {
  const room = entered();
  room.apply({ type: 'USER_JOINED', userId: 'cid', username: '\u05e9\u05dc\u05d5\u05dd', seq: 6, prev: 5 });
  room.apply({ type: 'HOST_CHANGED', hostUserId: 'cid', seq: 7, prev: 6 });
  room.apply({ type: 'CONTROL_DELEGATED', userId: 'bob', enabled: true, seq: 8, prev: 7 });
  room.apply({ type: 'USER_LEFT', userId: 'cid', reason: 'kicked', seq: 9, prev: 8 });
  for (const { name, text } of room.lines) assert.ok(name && text.startsWith(`${name} `), text);
  assert.equal(room.lines.length, 4);
});
