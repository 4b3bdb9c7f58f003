// The QR codes of the page, by `node`. See test_page.py.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { qrRows } from './qr-code.js';

const shown = (rows) => rows.map((row) => row.map((dark) => (dark ? '#' : '.')).join('')).join('\n');

// A program that reads QR codes (zxing) has read the codes with these hashes as these texts.
const READ = [
  [14, 21, '681cf3a21aee9cdd'],
  [26, 25, '31591b4cda8be59a'],
  [42, 29, '23f0e2465f8874da'],
  [62, 33, 'ae0c48d095b7ec54'],
  [84, 37, 'a5dea7e81a31bf2b'],
  [106, 41, 'fa92d12f570e28d7'],
  [122, 45, '4449b6dbf1bef737'],
  [152, 49, 'f3ddf7812119bb9c'],
  [180, 53, '84afa11e79eb5937'],
  [213, 57, '9bb20119774fcb14'],
];

test('codes are the ones that another program has read', () => {
  for (const [length, size, hash] of READ) {
    const rows = qrRows('http://192.0.2.7:4001/?room='.padEnd(length, 'room_3f8-').slice(0, length));
    assert.equal(rows.length, size, length);
    assert.equal(createHash('sha256').update(shown(rows)).digest('hex').slice(0, 16), hash, length);
  }
});

test('a text that is too long has no code', () => {
  assert.equal(qrRows('x'.repeat(213)).length, 57);
  assert.throws(() => qrRows('x'.repeat(214)), RangeError);
});
