// The estimate of the server's clock.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Environment, ServerClock } from '../../../tandemd/web/client/index.js';
import { SimulatedTime } from './support.mjs';

// A clock with samples of `trip` ms whose server is `offset` ahead at that moment.
function started() {
  const time = new SimulatedTime();
  const clock = new ServerClock(time.environment);
  const sample = (offset, trip, bias = 0) => {
    const middle = time.now - trip / 2 + offset + bias;
    clock.sample({ began: time.now - trip, ended: time.now, received: middle, sent: middle });
  };
  return { time, clock, sample, ahead: () => clock.now() - time.now };
}

test('the clock follows a server whose clock runs faster for a while', async () => {
  const { time, sample, ahead } = started();
  for (let i = 0; i < 4; i += 1, await time.pass(15_000)) sample(5000, 20);
  assert.ok(Math.abs(ahead() - 5000) < 1);
  for (let offset = 5750; offset < 8000; offset += 750, await time.pass(15_000)) {
    sample(offset, 100);
    assert.ok(Math.abs(ahead() - offset) < 1, `${ahead()} ${offset}`);
  }
  // A faster trip that agrees counts for more than a later one.
  sample(8000, 20);
  await time.pass(15_000);
  sample(8000, 200, 60);
  assert.ok(Math.abs(ahead() - 8000) < 1);
});

test('the time that the server took does not count', () => {
  const { time, clock } = started();
  const began = time.now - 500;
  clock.sample({ began, ended: time.now, received: began + 50 + 7000.25, sent: time.now - 50 + 7000.25 });
  assert.equal(clock.now() - time.now, 7000.25);
  assert.equal(clock.uncertainty, 50);
});

test('while a film plays, the clock moves slowly, except for steps', async () => {
  const { time, clock, sample, ahead } = started();
  clock.smooth = true;
  for (let i = 0; i < 6; i += 1) sample(1000, 100, 40);
  assert.equal(ahead(), 1040);
  // A better sample: 40 ms take 8 s.
  sample(1000, 10);
  assert.ok(Math.abs(ahead() - 1040) < 0.001);
  let before = clock.now();
  for (let i = 0; i < 80; i += 1) {
    await time.pass(100);
    const passed = clock.now() - before;
    assert.ok(passed >= 99.49 && passed <= 100.51, `${passed}`);
    before = clock.now();
  }
  assert.ok(Math.abs(ahead() - 1000) < 0.1, `${ahead()}`);
  sample(1300, 10);
  assert.equal(ahead(), 1300);
  // Paused, it may move at once.
  clock.smooth = false;
  sample(1320, 10);
  assert.equal(ahead(), 1320);
});

test('clocks that drift apart by 200 ppm stay together', async () => {
  for (const ppm of [-200, 200]) {
    const { time, clock, sample, ahead } = started();
    let seed = 7;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    for (let i = 0; i < 200; i += 1) {
      const offset = 500 + (time.now * ppm) / 1e6;
      const [there, back] = [40 + random() * 20, 40 + random() * 20];
      sample(offset, there + back, (there - back) / 2);
      clock.smooth = i > 5;
      const error = ahead() - offset;
      assert.ok(i < 20 || Math.abs(error) < 15, `${ppm} ppm, sample ${i}: ${error}`);
      await time.pass(10_000);
    }
  }
});

test('the jitter of the links counts less with each round trip', () => {
  let seed = 11;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (const [count, limit] of [[12, 15], [36, 8]]) {
    const errors = [];
    for (let run = 0; run < 100; run += 1) {
      const { time, sample, ahead } = started();
      for (let i = 0; i < count; i += 1, time.now += 100) {
        const [there, back] = [50 + random() * 100, 50 + random() * 100];
        sample(5000, there + back, (there - back) / 2);
      }
      errors.push(Math.abs(ahead() - 5000));
    }
    const p95 = errors.sort((a, b) => a - b)[95];
    assert.ok(p95 < limit, `${count} round trips: ${p95}`);
  }
});

test('the clock of the computer may be wrong and may be set', () => {
  let wall = 0;
  let elapsed = 0;
  const environment = new Environment({ Date: { now: () => wall }, performance: { now: () => elapsed } });
  for (wall of [0, 946_684_800_000, 4_102_444_800_000]) {
    const clock = new ServerClock(environment);
    assert.equal(clock.known, false);
    clock.hint(1_795_000_000_000);
    assert.equal(clock.known, true);
    assert.equal(clock.now(), 1_795_000_000_000);
    elapsed += 1000;
    for (const step of [-600_000, 3_600_000]) {
      wall += step;
      assert.equal(clock.now(), 1_795_000_001_000);
    }
  }
});
