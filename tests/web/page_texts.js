// The texts of the page in all languages, by `node`. See test_page.py.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import test from 'node:test';

import english from './texts/en.js';
import { chooseLanguage, hasText, t } from './language.js';

globalThis.document = { documentElement: {} };
const FORM = /\.(zero|one|two|few|many|other)$/;
const keysOf = (texts) => [...new Set(Object.keys(texts).map((key) => key.replace(FORM, '')))].sort();
const bracesIn = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

for (const file of readdirSync('./texts')) {
  test(`${file} has every text, with the same values in it`, async () => {
    const texts = (await import(`./texts/${file}`)).default;
    assert.deepEqual(keysOf(texts), keysOf(english));
    for (const [key, text] of Object.entries(texts)) {
      assert.ok(text.trim(), key);
      const model = english[key] ?? english[key.replace(FORM, '.other')];
      // A form for one thing may do without the number.
      if (!/\.one$/.test(key)) assert.deepEqual(bracesIn(text), bracesIn(model), key);
    }
  });
}

test('the first language that has a file is taken', async () => {
  const texts = (await import('./texts/de.js')).default;
  for (const tags of [[], ['xx', 'yy-ZZ'], ['en-GB', 'de'], ['../de', 'x-y'], ['constructor']]) {
    await chooseLanguage(tags);
    assert.equal(t('close'), english.close, tags);
  }
  await chooseLanguage(['xx', 'de-AT', 'en']);
  assert.equal(t('close'), texts.close);
  assert.equal(document.documentElement.lang, 'de');
});

test('a text has the form of its number, and its values', () => {
  assert.equal(t('time.minutes', { n: 1 }), '1 Minute');
  assert.equal(t('time.minutes', { n: 5 }), '5 Minuten');
  assert.equal(t('note.joined', { name: '{n}$&' }), '{n}$& ist dabei.');
  assert.equal(t('no.such.text'), 'no.such.text');
  assert.ok(hasText('close') && !hasText('no.such.text'));
});
