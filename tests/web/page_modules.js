// The page's modules that need no browser, by `node` in a directory with all of them. See test_page.py.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Hosting } from './host-actions.js';
import { refusal, span, waiting } from './error-texts.js';
import { chooseLanguage } from './language.js';
import { Ticket, tokenIn } from './auth-token.js';
import { isolated, shownAddress, webAddress } from './text.js';

globalThis.document = { documentElement: {} };
await chooseLanguage(['en']);

function signed(claims) {
  return `head.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sign`;
}

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
  await hosting.waitForBuffering(true);
  await hosting.admit('eve', true);
  console.log(`SENT ${JSON.stringify(sent)}`);
  assert.equal(sent.length, 9);
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
  assert.deepEqual(told, ['They have left already.', 'They may join already.', 'Only the host can do that.']);
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
  const kicked = { code: 'kicked', wasIn: true, reason: 'loud', retryAfterMs: 300_000 };
  assert.equal(said(kicked), 'The host has removed you from the party. You can come back in 5 minutes. The reason given: “loud”');
  const again = { code: 'kicked', message: 'JOIN: ...', retryAfterMs: 42_001 };
  assert.equal(said(again), 'The host has removed you from the party. You can come back in 43 seconds.');
  assert.equal(said({ code: 'banned', wasIn: true }), 'The host has banned you from this party.');
  assert.match(said({ code: 'banned', message: 'JOIN: ...' }), /banned you or your internet address/);
  assert.match(said({ code: 'closed', reason: 'late' }), /operator of the server has ended this party.*late/);
  assert.equal(said({ code: 'internal', message: 'As it is.' }), 'The server says: As it is.');
});

test('a wait is told in round words', () => {
  const waits = [1, 1001, 59_000, 59_001, 60_001, 300_000].map(span);
  assert.deepEqual(waits, ['1 second', '2 seconds', '59 seconds', '1 minute', '2 minutes', '5 minutes']);
  assert.match(waiting({ code: 'locked', message: 'x' }), /locked the party/);
  assert.equal(waiting({ code: 'another', message: 'x' }), 'The server says: x');
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
