// The environment without the optional abilities of browsers: each case removes abilities or makes them throw, and the methods
// fall back.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Environment } from '../../../tandemd/web/client/index.js';
import { STORAGES, define, throws, working } from './fake_globals.mjs';

for (const [how, storage] of Object.entries(STORAGES)) {
  test(`storage is ${how}: this page remembers, and nothing is lost`, (context) => {
    const environment = new Environment();
    for (const name of ['sessionStorage', 'localStorage']) define(context, name, storage);
    for (const area of ['tab', 'browser']) {
      environment.store(area, 'key', { a: 1 });
      assert.deepEqual(environment.stored(area, 'key'), { a: 1 });
      environment.discard(area, 'key');
      assert.equal(environment.stored(area, 'key'), null);
    }
  });
}

test('a storage that becomes full keeps no old value', (context) => {
  const environment = new Environment();
  const tab = working();
  define(context, 'sessionStorage', tab);
  environment.store('tab', 'key', 1);
  tab.setItem = throws;
  environment.store('tab', 'key', 2);
  assert.equal(environment.stored('tab', 'key'), 2);
  environment.discard('tab', 'key');
  assert.equal(environment.stored('tab', 'key'), null);
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
    const environment = new Environment();
    define(context, 'navigator', navigator);
    assert.equal(await environment.holdLock('name', 10), expected);
  });
}

test('random words without crypto', (context) => {
  const environment = new Environment();
  for (const crypto of [undefined, {}, throws]) {
    define(context, 'crypto', crypto);
    const words = new Set(Array.from({ length: 50 }, () => environment.randomWord(16)));
    assert.equal(words.size, 50);
    for (const word of words) assert.match(word, /^[0-9a-z]{16}$/);
  }
});

test('time without performance.now never goes back', (context) => {
  const environment = new Environment();
  for (const performance of [undefined, {}, throws]) {
    define(context, 'performance', performance);
    const wall = context.mock.method(Date, 'now', () => 5_000_000);
    const before = environment.elapsedMs();
    wall.mock.mockImplementation(() => 1000);
    assert.ok(environment.elapsedMs() >= before);
    wall.mock.restore();
  }
});

test('media keys: missing, or with some actions only', (context) => {
  const environment = new Environment();
  const handlers = { play() {}, pause() {} };
  for (const navigator of [undefined, {}, { mediaSession: {} }, { mediaSession: { setActionHandler: throws } }]) {
    define(context, 'navigator', navigator);
    environment.onMediaKeys(handlers);
  }
  const known = [];
  const setActionHandler = (action) => (action === 'play' ? throws() : known.push(action));
  define(context, 'navigator', { mediaSession: { setActionHandler } });
  environment.onMediaKeys(handlers);
  assert.deepEqual(known, ['pause']);
});

test('visibility that the browser does not tell counts as visible', (context) => {
  const environment = new Environment();
  for (const [state, hidden] of [[undefined, false], ['visible', false], ['prerender', false], ['hidden', true]]) {
    define(context, 'document', { visibilityState: state });
    assert.equal(environment.isHidden(), hidden);
  }
});


test('globals may be replaced one by one', () => {
  class Socket {}
  const environment = new Environment({ WebSocket: Socket });
  assert.ok(environment.openSocket('ws://x/') instanceof Socket);
  assert.throws(() => new Environment({ WebSocket: undefined }).openSocket('ws://x/'), { code: 'unsupported' });
});

test('without a document and a window no return is heard', () => {
  const environment = new Environment({ document: undefined, window: undefined });
  assert.equal(environment.isHidden(), false);
  environment.onReturn(assert.fail)();
});

test('a return is heard until it is no longer asked for', () => {
  const [document, window] = [new EventTarget(), new EventTarget()];
  const environment = new Environment({ document, window });
  let heard = 0;
  const end = environment.onReturn(() => (heard += 1));
  document.visibilityState = 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('pageshow'));
  assert.equal(heard, 0);
  document.visibilityState = 'visible';
  document.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('online'));
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  assert.equal(heard, 3);
  end();
  window.dispatchEvent(new Event('online'));
  assert.equal(heard, 3);
});
