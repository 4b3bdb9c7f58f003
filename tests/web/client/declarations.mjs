// index.d.ts declares what index.js exports.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import * as client from '../../../tandemd/web/client/index.js';

const text = readFileSync(new URL('../../../tandemd/web/client/index.d.ts', import.meta.url), 'utf8');

test('every export is declared, and nothing else', () => {
  const declared = [...text.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(client).sort());
});

test('the methods of every class are declared, and nothing else', () => {
  for (const [name, value] of Object.entries(client)) {
    if (typeof value !== 'function' || !value.prototype || Object.getPrototypeOf(value).name === 'TandemError') continue;
    const [body] = text.match(new RegExp(`^export class ${name}\\b[^]*?^\\}$`, 'm')) ?? [''];
    if (!body) continue;
    for (const [member, { get, set }] of Object.entries(Object.getOwnPropertyDescriptors(value.prototype))) {
      if (member === 'constructor') continue;
      const declaration = get ? `^  (?:readonly )?${member}\\??:` : set ? `^  set ${member}\\(` : `^  (?:protected )?${member}[<(]`;
      assert.match(body, new RegExp(declaration, 'm'), `${name}.${member}`);
    }
    const methods = [...body.matchAll(/^  (?:protected )?(\w+)(?:<.*>)?\(/gm)].map(([, method]) => method);
    for (const method of methods) assert.ok(method in value.prototype, `${name}.${method} is declared only`);
  }
});
