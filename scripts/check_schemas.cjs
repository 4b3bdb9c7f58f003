// Validates the JSON Schema and the AsyncAPI document of the messages; see check_schemas.
'use strict';
const { readFileSync } = require('node:fs');
const { Ajv2020 } = require('ajv/dist/2020');
const { Parser } = require('@asyncapi/parser');

const [schemaFile, asyncApiFile] = process.argv.slice(2);

const JOIN = { type: 'JOIN', roomId: 'Räum 1 \u{1f37f}', userId: 'ann' };
const VALID = [JOIN, { ...JOIN, later: 1 }, { type: 'SEEK', currentTime: 2 ** 43 }, { type: 'ACK', id: 2 ** 53 }];
const INVALID = [
  { ...JOIN, roomId: 'a\u200b' },
  { ...JOIN, roomId: 'a\u{e0041}' },
  { ...JOIN, roomId: 'a\n' },
  { ...JOIN, roomId: '' },
  { type: 'SEEK', currentTime: 2 ** 43 + 1 },
  { type: 'ACK' },
  { type: 'TELEPORT' },
];

function checkSchema() {
  const ajv = new Ajv2020({ strict: true, allErrors: true });
  const isValid = ajv.compile(JSON.parse(readFileSync(schemaFile, 'utf8')));
  return [
    ...VALID.filter((message) => !isValid(message)).map((message) => `rejects ${JSON.stringify(message)}`),
    ...INVALID.filter((message) => isValid(message)).map((message) => `accepts ${JSON.stringify(message)}`),
  ].map((fault) => `${schemaFile} ${fault}`);
}

async function checkAsyncApi() {
  const { diagnostics } = await new Parser().parse(readFileSync(asyncApiFile, 'utf8'));
  // 0 is an error, 1 a warning.
  return diagnostics
    .filter((found) => found.severity < 2)
    .map((found) => `${asyncApiFile}:${found.range.start.line + 1}: ${found.message} (${found.path.join('.')})`);
}

async function main() {
  const faults = [...checkSchema(), ...(await checkAsyncApi())];
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length ? 1 : 0;
}

main();
