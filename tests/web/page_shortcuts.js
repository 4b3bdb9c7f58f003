// Shortcuts of the page, by `node`. See test_page.py.

import assert from 'node:assert/strict';
import test from 'node:test';

import { KEYS, plainKey, repeatsPress, seekSeconds, shortcut } from './shortcuts.js';

const BODY = { tagName: 'BODY' };
const MODIFIERS = ['ctrlKey', 'altKey', 'metaKey', 'shiftKey'];

const press = (key, event = {}, place = {}) =>
  shortcut({ key, ...event }, { focused: BODY, overlaid: false, inParty: true, ...place });

test('each key of the list has its command, and no other key has one', () => {
  const pressed = { Space: ' ', '←': 'ArrowLeft', '→': 'ArrowRight', '↑': 'ArrowUp', '↓': 'ArrowDown' };
  for (const { command, keys } of KEYS) {
    for (const key of keys.flatMap((name) => pressed[name] ?? [name, name.toLowerCase()])) assert.equal(press(key), command, key);
  }
  const others = ['Enter', 'x', 'Spacebar', 'kk', 'Escape', '', 'Process', 'Dead', 'MediaPlayPause', undefined];
  for (const key of others) assert.equal(press(key), '', key);
});

test('the list of keys opens where ? needs Shift', () => {
  assert.equal(press('?', { shiftKey: true }), 'help');
  assert.equal(press('K', { shiftKey: true }), '');
});

test('a held key counts once, unless it moves a slider', () => {
  for (const key of [' ', 'k', 'm', 'f', 'c', '?']) assert.equal(press(key, { repeat: true }), '');
  for (const key of ['j', 'l', 'ArrowLeft', 'ArrowUp']) assert.notEqual(press(key, { repeat: true }), '');
});

test('a button of the player keeps only the keys that press it', () => {
  const focused = { tagName: 'BUTTON', closest: () => ({}) };
  for (const key of [' ', 'Enter']) assert.equal(press(key, {}, { focused }), '');
  assert.equal(press('f', {}, { focused }), 'fullScreen');
  assert.equal(press('f', {}, { focused: { tagName: 'BUTTON', closest: () => null } }), '');
});

test('keys with a modifier, of an input method, or already handled belong to others', () => {
  for (const flag of [...MODIFIERS, 'isComposing', 'defaultPrevented']) {
    for (const key of [' ', 'k']) assert.equal(press(key, { [flag]: true }), '', flag);
    assert.equal(plainKey({ key: 'ArrowLeft', [flag]: true }), '', flag);
    assert.equal(seekSeconds({ key: 'ArrowLeft', [flag]: true }), 0, flag);
  }
});

test('all that can have the focus keeps its keys', () => {
  const tags = ['INPUT', 'BUTTON', 'A', 'SELECT', 'TEXTAREA', 'SUMMARY', 'DETAILS', 'IFRAME', 'H2', 'OL', 'DIV', 'LABEL', 'X-Y', 'AUDIO', 'svg'];
  for (const tagName of tags) assert.equal(press(' ', {}, { focused: { tagName } }), '', tagName);
  for (const tagName of ['BODY', 'HTML', 'VIDEO', 'DIV']) {
    assert.equal(press(' ', {}, { focused: { tagName, isContentEditable: true } }), '', tagName);
  }
  assert.equal(press(' ', {}, { focused: { tagName: 'VIDEO', controls: true } }), '');
});

test('the page as a whole and the film have no use for keys', () => {
  for (const focused of [null, undefined, BODY, { tagName: 'HTML' }, { tagName: 'VIDEO' }, { tagName: 'VIDEO', controls: false }]) {
    assert.equal(press('k', {}, { focused }), 'toggle');
  }
});

test('below a dialog or a menu, and outside of the party, keys do nothing', () => {
  assert.equal(press(' ', {}, { overlaid: true }), '');
  assert.equal(press(' ', {}, { inParty: false }), '');
});

test('arrow and page keys move the position, and repeat', () => {
  const moved = Object.fromEntries(['ArrowLeft', 'ArrowRight', 'PageUp', 'PageDown', 'Home', 'a'].map((key) => [key, seekSeconds({ key, repeat: true })]));
  assert.deepEqual(moved, { ArrowLeft: -10, ArrowRight: 10, PageUp: 60, PageDown: -60, Home: 0, a: 0 });
});

test('held Enter clicks or sends once, and still breaks lines', () => {
  const held = (target, key = 'Enter') => repeatsPress({ key, repeat: true, target });
  for (const tagName of ['BUTTON', 'INPUT', 'A', 'SUMMARY', 'BODY']) assert.equal(held({ tagName }), true, tagName);
  assert.equal(held({ tagName: 'TEXTAREA' }), false);
  assert.equal(held({ tagName: 'DIV', isContentEditable: true }), false);
  assert.equal(held({ tagName: 'INPUT' }, 'a'), false);
  assert.equal(held({ tagName: 'INPUT' }, 'Backspace'), false);
  assert.equal(repeatsPress({ key: 'Enter', repeat: false, target: { tagName: 'BUTTON' } }), false);
});
