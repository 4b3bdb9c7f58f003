// Two members talk while their connections are cut at random moments. Nothing is lost, doubled or reordered, and every promise
// settles. usage: cuts.mjs NUMBER SEED, with TANDEMD_URL.

import assert from 'node:assert/strict';

import { Proxy, party, until } from './live.mjs';

const [cuts, seed] = process.argv.slice(2).map(Number);
const OPTIONS = { backOffMs: 5, backOffLimitMs: 100 };

// mulberry32: the same numbers for the same seed.
let state = seed;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Member {
  said = [];
  heard = [];
  order = [];
  departures = 0;
  resumed = 0;

  constructor(userId, proxy) {
    this.proxy = proxy;
    this.party = party(userId, { url: proxy.url, options: OPTIONS });
    this.party.on('message', (message) => this.#hear(message));
    this.party.start();
  }

  #hear({ type, userId, text, seq, resumed }) {
    if (type === 'CHAT') {
      this.heard.push(`${userId} ${text}`);
      this.order.push(seq);
    } else if (type === 'USER_LEFT') {
      this.departures += 1;
    } else if (resumed) {
      this.resumed += 1;
    }
  }

  say() {
    const { me } = this.party;
    this.said.push(this.party.say(String(this.said.length)).then(() => 'done', (error) => `${me}: ${error.code}`));
  }
}

const [ann, bob] = [new Member('ann', await Proxy.open()), new Member('bob', await Proxy.open())];
const members = [ann, bob];
await Promise.all(members.map(({ party: one }) => one.joined({ withinMs: 60_000 })));

let talking = true;
async function talk(member) {
  while (talking) {
    await sleep(random() * 30);
    // The room keeps the last thousand changes for members that come back.
    if (Math.abs(ann.heard.length - bob.heard.length) > 200) continue;
    member.say();
    // More than eight at once now and then.
    if (random() < 0.05) for (let i = 0; i < 12; i += 1) member.say();
    if (member.said.length % 50 === 0) await Promise.all(member.said);
  }
}
const talks = members.map(talk);
for (let i = 0; i < cuts; i += 1) {
  const { proxy, party: one } = members[random() < 0.5 ? 0 : 1];
  // Most cuts hit a member that is in the room, some the way there.
  if (random() < 0.8) await until('the member is back', () => one.connection.state === 'connected');
  await sleep(random() * 40);
  if (random() < 0.5) {
    proxy.hold(random() < 0.5 ? 'up' : 'down');
    await sleep(random() * 30);
  }
  proxy.cut();
}
talking = false;
await Promise.all(talks);

const results = await Promise.all(members.flatMap(({ said }) => said));
assert.deepEqual(results.filter((result) => result !== 'done'), []);
const total = ann.said.length + bob.said.length;
await until('all lines on both sides', () => members.every(({ heard }) => heard.length >= total));
assert.deepEqual(ann.heard, bob.heard);
for (const { party: { me, room }, said, heard, order, departures } of members) {
  const own = heard.filter((line) => line.startsWith(`${me} `));
  assert.deepEqual(own, said.map((_, i) => `${me} ${i}`));
  assert.ok(order.every((seq, i) => i === 0 || seq > order[i - 1]));
  assert.equal(departures, 0);
  assert.deepEqual(room.lines.filter(({ kind }) => kind !== 'chat' && kind !== 'joined'), []);
}
for (const { party: one, proxy } of members) {
  one.leave();
  proxy.close();
}
// The process ends by itself: nothing of the library is left.
console.log(`CUTS ${cuts} LINES ${total} RESUMED ${ann.resumed + bob.resumed}`);
