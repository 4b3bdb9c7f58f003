// A party goes on over a restart of the daemon. usage: restart.mjs PID, with TANDEMD_URL; the caller starts the daemon again.

import assert from 'node:assert/strict';

import { LiveVideo, party, until } from './live.mjs';

const [ann, bob] = ['ann', 'bob'].map((userId) => party(userId, { media: new LiveVideo(), options: { backOffLimitMs: 500 } }));
const states = { ann: [], bob: [] };
for (const one of [ann, bob]) one.on('state', (state) => states[one.me].push(state));
for (const one of [ann, bob]) {
  one.start();
  await one.joined({ withinMs: 60_000 });
}
await ann.show('https://tandemd.invalid/clip');
await ann.play();
await until('both play', () => [ann, bob].every((one) => one.player.playing && one.position > 0.2));
process.kill(Number(process.argv[2]), 'SIGTERM');
await until('the connections are lost', () => Object.values(states).every((passed) => passed.includes('reconnecting')));
await until('both are back', () => [ann, bob].every((one) => one.connection.state === 'connected'));
await bob.say('still here');
await until('the host reads it', () => ann.room.lines.some(({ kind, text }) => kind === 'chat' && text === 'still here'));
assert.deepEqual(ann.room.lines.filter(({ kind }) => kind !== 'chat' && kind !== 'joined'), []);
assert.equal(ann.host, true);
assert.ok([ann, bob].every((one) => one.player.playing));
await until('both are in step', () => [ann, bob].every((one) => Math.abs(one.player.drift ?? 1) < 0.1));
for (const one of [ann, bob]) one.leave();
console.log('RESTARTED');
