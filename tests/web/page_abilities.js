// The page's modules without the optional abilities of browsers, by `node`. See test_page.py. Each case removes abilities or
// makes them throw, and the functions of browser.js fall back.

import assert from 'node:assert/strict';
import test from 'node:test';

import * as browser from './browser.js';
import { ServerClock } from './clock.js';
import { Identity, randomWord } from './identity.js';

const throws = () => {
  throw new DOMException('denied', 'SecurityError');
};
// Full, or forbidden as in a private window: it reads, and does not write.
const readOnly = { getItem: () => null, setItem: throws, removeItem: throws };
const working = () => {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text), removeItem: (key) => kept.delete(key) };
};

// Define a global for a test. value: undefined for a missing one; `throws` for one that must not even be read.
function define(context, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  const get = value === throws ? throws : () => value;
  Object.defineProperty(globalThis, name, { get, configurable: true });
  const names = defined.get(context) ?? new Set();
  defined.set(context, names);
  if (names.has(name)) return;
  names.add(name);
  context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
}

const defined = new WeakMap();

const STORAGES = { missing: undefined, 'switched off': null, forbidden: throws, full: readOnly };
for (const [how, storage] of Object.entries(STORAGES)) {
  test(`storage is ${how}: this page remembers, and nothing is lost`, async (context) => {
    for (const name of ['sessionStorage', 'localStorage']) define(context, name, storage);
    for (const area of ['tab', 'browser']) {
      browser.store(area, 'key', { a: 1 });
      assert.deepEqual(browser.stored(area, 'key'), { a: 1 });
      browser.discard(area, 'key');
      assert.equal(browser.stored(area, 'key'), null);
    }
    const identity = new Identity();
    await identity.claim();
    identity.name = 'Ann';
    assert.equal(identity.name, 'Ann');
    identity.remember('room', { token: 't' });
    assert.equal(identity.recall('room').token, 't');
    identity.take('a.b.c');
    identity.forgetRoom();
    assert.deepEqual(identity.recall('room'), {});
    for (const [area, key] of [['tab', 'tandem.user'], ['tab', 'tandem.name'], ['browser', 'tandem.name']]) browser.discard(area, key);
  });
}

test('stored values that are damaged or of another kind count as absent', (context) => {
  const tab = working();
  define(context, 'sessionStorage', tab);
  define(context, 'localStorage', working());
  for (const text of ['', '{', 'null', '12', '{"a":1}', '[]', '""', 'true']) {
    for (const key of ['tandem.user', 'tandem.name', 'tandem.room', 'tandem.ticket']) tab.setItem(key, text);
    const identity = new Identity();
    assert.match(identity.userId, /^user_[0-9a-z]{8}$/, text);
    assert.equal(identity.name, '', text);
    assert.deepEqual(identity.recall('room'), {}, text);
    identity.resume('room');
    assert.equal(identity.ticket, null, text);
  }
});

test('a storage that becomes full keeps no old value', (context) => {
  const tab = working();
  define(context, 'sessionStorage', tab);
  browser.store('tab', 'key', 1);
  tab.setItem = throws;
  browser.store('tab', 'key', 2);
  assert.equal(browser.stored('tab', 'key'), 2);
  browser.discard('tab', 'key');
  assert.equal(browser.stored('tab', 'key'), null);
});

const LOCKS = {
  'no navigator': [undefined, 'unknown'],
  'no locks': [{}, 'unknown'],
  'forbidden locks': [{ locks: { request: () => Promise.reject(new DOMException('', 'SecurityError')) } }, 'unknown'],
  'locks that throw': [{ locks: { request: throws } }, 'unknown'],
  'locks that never answer, nor end': [{ locks: { request: () => new Promise(() => {}) } }, 'unknown'],
  'a free lock': [{ locks: { request: async (name, options, held) => held() } }, 'held'],
  'a lock of another tab': [
    {
      locks: {
        request: (name, { signal }) =>
          new Promise((resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason));
          }),
      },
    },
    'taken',
  ],
};
for (const [how, [navigator, expected]] of Object.entries(LOCKS)) {
  test(`lock: ${how}`, async (context) => {
    define(context, 'navigator', navigator);
    assert.equal(await browser.holdLock('name', 10), expected);
  });
}

test('a duplicated tab becomes another member, and a tab without locks does not', async (context) => {
  for (const [how, renewed] of [['a lock of another tab', true], ['forbidden locks', false], ['no locks', false]]) {
    define(context, 'sessionStorage', working());
    define(context, 'localStorage', working());
    const original = new Identity();
    original.remember('room', { token: 't' });
    define(context, 'navigator', LOCKS[how][0]);
    const copy = new Identity();
    assert.equal(copy.userId, original.userId);
    await copy.claim();
    assert.equal(copy.userId !== original.userId, renewed, how);
    assert.equal(copy.recall('room').token, renewed ? undefined : 't', how);
  }
});

test('random words without crypto', (context) => {
  for (const crypto of [undefined, {}, throws]) {
    define(context, 'crypto', crypto);
    const words = new Set(Array.from({ length: 50 }, () => randomWord(16)));
    assert.equal(words.size, 50);
    for (const word of words) assert.match(word, /^[0-9a-z]{16}$/);
  }
});

test('time without performance.now never goes back', (context) => {
  for (const performance of [undefined, {}, throws]) {
    define(context, 'performance', performance);
    const wall = context.mock.method(Date, 'now', () => 5_000_000);
    const before = browser.elapsedMs();
    wall.mock.mockImplementation(() => 1000);
    assert.ok(browser.elapsedMs() >= before);
    wall.mock.restore();
  }
});

test('the clock of the computer may be wrong and may be set', (context) => {
  let elapsed = 0;
  context.mock.method(performance, 'now', () => elapsed);
  for (const wall of [0, 946_684_800_000, 4_102_444_800_000]) {
    context.mock.method(Date, 'now', () => wall);
    const clock = new ServerClock();
    assert.equal(clock.known, false);
    clock.hint(1_795_000_000_000);
    assert.equal(clock.known, true);
    assert.equal(clock.now(), 1_795_000_000_000);
    elapsed += 1000;
    for (const step of [-600_000, 3_600_000]) {
      context.mock.method(Date, 'now', () => wall + step);
      assert.equal(clock.now(), 1_795_000_001_000);
    }
  }
});

test('media keys: missing, or with some actions only', (context) => {
  const handlers = { play() {}, pause() {} };
  for (const navigator of [undefined, {}, { mediaSession: {} }, { mediaSession: { setActionHandler: throws } }]) {
    define(context, 'navigator', navigator);
    browser.onMediaKeys(handlers);
  }
  const known = [];
  const setActionHandler = (action) => (action === 'play' ? throws() : known.push(action));
  define(context, 'navigator', { mediaSession: { setActionHandler } });
  browser.onMediaKeys(handlers);
  assert.deepEqual(known, ['pause']);
});

test('the link is copied by the old command, or stays selected', async (context) => {
  let selected = 0;
  const input = { value: 'https://x/', focus() {}, select: () => (selected += 1) };
  const clipboards = [undefined, {}, { clipboard: { writeText: () => Promise.reject(new Error()) } }, { clipboard: {} }];
  for (const navigator of clipboards) {
    for (const [execCommand, expected] of [[() => true, true], [() => false, false], [undefined, false], [throws, false]]) {
      define(context, 'navigator', navigator);
      define(context, 'document', { execCommand });
      assert.equal(await browser.copyText(input), expected);
    }
  }
  assert.equal(selected, 16);
  define(context, 'navigator', { clipboard: { writeText: async () => {} } });
  assert.equal(await browser.copyText(input), true);
});

test('full screen: standard, prefixed, of videos only, refused, and missing', async (context) => {
  const asked = [];
  const note = (name) => () => asked.push(name);
  const cases = [
    [{ fullscreenEnabled: true }, { requestFullscreen: note('box') }, {}, true],
    [{ webkitFullscreenEnabled: true }, { webkitRequestFullscreen: note('prefixed') }, {}, true],
    [{}, {}, { webkitSupportsFullscreen: true, webkitEnterFullscreen: note('video') }, true],
    [{ fullscreenElement: {}, fullscreenEnabled: true, exitFullscreen: note('end') }, {}, {}, true],
    [{ fullscreenEnabled: true }, { requestFullscreen: () => Promise.reject(new Error()) }, {}, true],
    [{}, {}, {}, false],
  ];
  for (const [document, box, video, expected] of cases) {
    define(context, 'document', document);
    assert.equal(browser.canFillScreen(video), expected);
    await browser.toggleFullScreen(box, video);
  }
  assert.deepEqual(asked, ['box', 'prefixed', 'video', 'end']);
});

test('visibility that the browser does not tell counts as visible', (context) => {
  for (const [state, hidden] of [[undefined, false], ['visible', false], ['prerender', false], ['hidden', true]]) {
    define(context, 'document', { visibilityState: state });
    assert.equal(browser.isHidden(), hidden);
  }
});

test('the address line may be out of reach', (context) => {
  for (const history of [undefined, { replaceState: throws }]) {
    define(context, 'history', history);
    browser.replaceAddress('/');
  }
  for (const [text, expected] of [['https://x/a', '/a'], ['http://', undefined], ['x', undefined]]) {
    assert.equal(browser.parsedAddress(text)?.pathname, expected);
  }
});
