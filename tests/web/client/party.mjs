// Parties with a real daemon, and players in real time. Nothing here depends on how fast the machine is.

import assert from 'node:assert/strict';
import test from 'node:test';

import { LiveVideo, Proxy, pair, party, until } from './live.mjs';

const far = (one) => Math.abs(one.player.drift ?? Infinity);

test('two players play, seek and pause together', async (context) => {
  const [ann, bob] = await pair(context);
  await ann.play();
  await until('both play', () => [ann, bob].every((one) => one.player.playing && one.position > 0.5));
  await until('both are in step', () => far(ann) < 0.1 && far(bob) < 0.1);
  const pending = [];
  ann.on('changed', () => pending.push(ann.pending));
  await ann.seek(1000);
  assert.ok(pending.includes(true));
  await until('both go on behind the seek', () => [ann, bob].every((one) => one.player.playing && one.position > 1000.5));
  await ann.pause();
  await until('both stand still', () => [ann, bob].every((one) => !one.player.playing));
  await until('at the same position', () => Math.abs(ann.position - bob.position) < 0.001);
  assert.ok(ann.position > 1000.5);
});

test('several seeks are one, and each caller learns the result', async (context) => {
  const [ann, bob] = await pair(context);
  const seeks = [10, 20, 30].map((position) => ann.seek(position));
  const acks = await Promise.all(seeks);
  assert.equal(new Set(acks.map(({ seq }) => seq)).size, 1);
  await until('both are there', () => ann.position === 30 && bob.position === 30);
  // A paused room gets no message when all are ready.
  await until('the seek is over', () => ann.room.hold === null && bob.room.hold === null);
  const late = ann.seek(40);
  ann.close();
  await assert.rejects(late, { code: 'left' });
});

test('the server rejects with a code', async (context) => {
  const [ann, bob] = await pair(context);
  await assert.rejects(bob.pause(), { name: 'CommandError', code: 'forbidden' });
  await assert.rejects(ann.show('nonsense'), { name: 'CommandError', code: 'bad_url' });
  const problems = [];
  bob.on('problem', ({ code }) => problems.push(code));
  bob.intend('play');
  assert.deepEqual(problems, ['forbidden']);
  await ann.connection.command({ type: 'KICK', targetUserId: 'bob', reason: 'loud' });
  await until('the guest is out', () => bob.connection.state === 'refused');
  const { code, reason, wasIn } = bob.connection.error;
  assert.deepEqual([code, reason, wasIn], ['kicked', 'loud', true]);
  await assert.rejects(bob.say('hello'), { name: 'RoomError', code: 'kicked' });
  await until('the host sees it', () => ann.room.users.size === 1);
});

test('a wrong PIN refuses, and another try is granted', async (context) => {
  const [ann] = await pair(context, { host: { pin: '1234' }, guest: { pin: '1234' } });
  const cid = party('cid', { roomId: ann.room.id, pin: '1' });
  context.after(() => cid.close());
  cid.start();
  await assert.rejects(cid.joined(), { name: 'RoomError', code: 'bad_pin' });
  cid.retry({ pin: '1234' });
  await cid.joined();
  assert.equal(cid.room.users.get('ann'), 'ann');
});

test('with its memory the next run is the same member and misses no line', async (context) => {
  const [ann, bob] = await pair(context);
  await bob.say('before');
  const { memory } = bob;
  bob.close();
  await ann.say('meanwhile');
  const next = party('bob', { memory: JSON.parse(JSON.stringify(memory)), username: undefined });
  context.after(() => next.close());
  let resumed;
  next.on('message', (message) => (resumed ??= message.resumed));
  next.start();
  await next.joined();
  await next.say('after');
  const texts = ({ room }) => room.lines.filter(({ kind }) => kind === 'chat').map(({ text }) => text);
  assert.deepEqual(texts(next), ['before', 'meanwhile', 'after']);
  assert.equal(resumed, true);
  await until('the host reads it', () => texts(ann).length === 3);
  assert.deepEqual(ann.room.lines.filter(({ kind }) => kind === 'left'), []);
});

test('two programs of one member do not fight for it', async (context) => {
  const [, bob] = await pair(context);
  const other = party('bob', { memory: bob.memory, media: new LiveVideo() });
  context.after(() => other.close());
  other.start();
  await other.joined();
  // Each takes the member back once.
  await bob.say('first');
  await other.say('second');
  await assert.rejects(bob.say('third'), { name: 'RoomError', code: 'detached' });
  assert.equal(bob.connection.state, 'elsewhere');
  bob.connection.join();
  await bob.joined();
});

test('a film that plays goes on over a lost connection', async (context) => {
  const proxy = await Proxy.open();
  context.after(() => proxy.close());
  const [ann, bob] = await pair(context, { guest: { url: proxy.url, options: { backOffMs: 50 } } });
  await ann.play();
  await until('both play', () => [ann, bob].every((one) => one.player.playing && one.position > 0.3));
  let states = '';
  bob.on('state', (state) => (states += `${state} `));
  proxy.cut();
  await bob.say('still here');
  assert.match(states, /reconnecting joining connected/);
  assert.ok(bob.player.playing);
  await until('the guest is in step', () => far(bob) < 0.1);
});

test('all start at the moment that the server names', async (context) => {
  const [ann, bob] = await pair(context);
  const starts = [];
  bob.on('message', ({ type, control, at }) => type === 'PLAY_PAUSE' && control === 'play' && starts.push(at));
  // A member that watches tells positions, and only such a room schedules.
  while (!starts.at(-1)) {
    await ann.play();
    await until('both play', () => [ann, bob].every((one) => one.player.playing && one.position > 0.2));
    await ann.pause();
    await until('both stand still', () => [ann, bob].every((one) => !one.player.playing));
  }
  assert.ok([ann, bob].every((one) => one.player.startMs < 200));
});

test('the room has a rate, and a new title has none', async (context) => {
  const [ann, bob] = await pair(context);
  await ann.play();
  await ann.setRate(2);
  await until('both play twice as fast', () => [ann, bob].every((one) => Math.abs(one.player.rate - 2) < 0.3));
  await until('both are in step', () => far(ann) < 0.1 && far(bob) < 0.1);
  await assert.rejects(bob.setRate(1), { name: 'CommandError', code: 'forbidden' });
  await ann.show('https://www.netflix.com/watch/1');
  await until('the new title', () => bob.room.url.includes('netflix') && bob.player.rate === 1);
});

test('members see who buffers, also after a lost connection', async (context) => {
  const proxy = await Proxy.open();
  context.after(() => proxy.close());
  const video = new LiveVideo();
  const [ann, bob] = await pair(context, { guest: { media: video, url: proxy.url, options: { backOffMs: 50 } } });
  const seen = () => ann.room.statuses.get('bob') ?? 'watching';
  await ann.play();
  await until('both play', () => [ann, bob].every((one) => one.player.playing));
  video.readyState = 2;
  await until('the host sees it', () => seen() === 'buffering');
  proxy.cut();
  video.readyState = 4;
  await until('the host sees the end', () => seen() === 'watching');
  await ann.connection.command({ type: 'WAIT_FOR_BUFFERING', enabled: true });
  await until('both know that the film waits', () => ann.room.waitForBuffering && bob.room.waitForBuffering);
  const held = new Promise((resolve) => ann.on('changed', (what) => what === 'hold' && resolve()));
  video.readyState = 2;
  await held;
  video.readyState = 4;
  await until('the film goes on', () => [ann, bob].every((one) => one.room.hold === null && one.player.playing));
});
