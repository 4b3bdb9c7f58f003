// The page's modules without the optional abilities of browsers, by `node`. See test_page.py. Each case removes abilities or
// makes them throw, and the functions of browser.js fall back.

import assert from 'node:assert/strict';
import test from 'node:test';

import * as browser from './browser.js';
import { canFillScreen, toggleFullScreen } from './display.js';
import { Identity } from './identity.js';
import { STORAGES, define, throws, working } from './fake_globals.mjs';

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

test('a duplicated tab becomes another member, and a tab without locks does not', async (context) => {
  const taken = (name, { signal }) =>
    new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const forbidden = () => Promise.reject(new DOMException('', 'SecurityError'));
  for (const [how, locks, renewed] of [['taken', { request: taken }, true], ['forbidden', { request: forbidden }, false], ['none', undefined, false]]) {
    define(context, 'sessionStorage', working());
    define(context, 'localStorage', working());
    const original = new Identity();
    original.remember('room', { token: 't' });
    define(context, 'navigator', { locks });
    const copy = new Identity();
    assert.equal(copy.userId, original.userId);
    await copy.claim();
    assert.equal(copy.userId !== original.userId, renewed, how);
    assert.equal(copy.recall('room').token, renewed ? undefined : 't', how);
  }
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
    assert.equal(canFillScreen(video), expected);
    await toggleFullScreen(box, video);
  }
  assert.deepEqual(asked, ['box', 'prefixed', 'video', 'end']);
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
