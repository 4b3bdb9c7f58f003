// The playback controller with players that are slow to seek or to start, stall, refuse rates, or end.

import assert from 'node:assert/strict';
import test from 'node:test';

import { PlaybackController, ServerClock } from '../../../tandemd/web/client/index.js';
import { SimulatedTime, SimulatedVideo } from './support.mjs';

const PLAYING = { position: 100, playing: true, rate: 1 };

// A player that follows a room which is at 100 s now.
function watching(film, { timeline = PLAYING } = {}, abilities = {}) {
  const time = new SimulatedTime(abilities);
  const video = new SimulatedVideo(time, film);
  // The server's clock shows the same time.
  const player = new PlaybackController(video, { clock: { now: () => time.now }, environment: time.environment });
  player.follow({ at: time.now, ...timeline });
  return { time, video, player };
}

test('a player whose seeks take long plays, and gets in step', async () => {
  for (const seekMs of [1000, 2500, 4000]) {
    const { time, video, player } = watching({ seekMs });
    await time.pass(42_000);
    assert.ok(video.played > 30, `${seekMs}: ${video.played}`);
    assert.ok(video.seeks <= 3, `${seekMs}: ${video.seeks}`);
    assert.ok(Math.abs(player.drift) < 0.5, `${seekMs}: ${player.drift}`);
  }
});

test('a player that never gets there plays where it is, and tries now and then', async () => {
  const { time, video, player } = watching({ seekMs: 12_000 });
  await time.pass(120_000);
  assert.ok(video.played > 50, `${video.played}`);
  assert.ok(video.seeks <= 6, `${video.seeks}`);
  assert.ok(player.telling || video.seeking);
});

test('a player stops at the end of its film', async () => {
  for (const duration of [110, 60]) {
    const { time, video, player } = watching({ duration });
    await time.pass(42_000);
    assert.equal(video.currentTime, duration);
    assert.ok(video.paused && player.ended && !player.stalled);
    assert.ok(video.seeks <= 2, `${video.seeks}`);
    player.follow({ position: 20, at: 0, playing: false, rate: 1 });
    assert.equal(video.currentTime, 20);
    assert.equal(player.ended, false);
  }
});

test('a live stream whose duration grows is played where it is', async () => {
  for (const duration of [4, 90, 130]) {
    const { time, video, player } = watching({ duration, live: true });
    await time.pass(42_000);
    assert.ok(video.played > 35, `${duration}: ${video.played}`);
    assert.ok(video.seeks <= 3, `${duration}: ${video.seeks}`);
    assert.ok(!video.paused && !player.ended);
  }
});

const PAUSED = { position: 100, at: 0, playing: false, rate: 1 };

// Start in `ahead` ms. Return by how many ms the player moved too late.
async function start({ time, video, player }, ahead) {
  const at = time.now + ahead;
  player.follow({ ...PAUSED, at, playing: true });
  await time.pass(Math.max(ahead, 0) + 2500);
  return video.moved.at(-1) - at;
}

test('a scheduled start is on time, however long the player takes', async () => {
  for (const startMs of [20, 150, 300]) {
    const watched = watching({ startMs }, { timeline: PAUSED });
    await watched.time.pass(1000);
    // The first start measures.
    await start(watched, 500);
    for (let i = 0; i < 3; i += 1) {
      watched.player.follow(PAUSED);
      await watched.time.pass(1000);
      const late = await start(watched, 400);
      assert.ok(Math.abs(late) <= 20, `${startMs}: ${late}`);
      assert.ok(Math.abs(watched.player.drift) < 0.03, `${startMs}: ${watched.player.drift}`);
    }
    assert.ok(Math.abs(watched.player.startMs - startMs) <= 20, `${watched.player.startMs}`);
  }
});

test('a player that learns of a start too late goes to where the room will be', async () => {
  for (const [startMs, seekMs] of [[30, 60], [200, 100]]) {
    for (const behind of [0, 150, 400, 2000]) {
      const watched = watching({ startMs, seekMs }, { timeline: PAUSED });
      const { time, video, player } = watched;
      await time.pass(1000);
      for (let i = 0; i < 2; i += 1) {
        await start(watched, 500);
        player.follow(PAUSED);
        await time.pass(1000);
      }
      const [before, told] = [video.moved.length, time.now];
      player.follow({ ...PAUSED, at: time.now - behind, playing: true });
      for (let i = 0; i < 100 && !video.moved[before]; i += 1) await time.pass(10);
      // Some ms after its first frame it is where the others are.
      await time.pass(50);
      assert.ok(Math.abs(player.drift) < 0.09, `${startMs} ${seekMs} ${behind}: ${player.drift}`);
      assert.ok(video.moved[before] < told + 600, `${video.moved[before] - told}`);
      await time.pass(2000);
      assert.ok(Math.abs(player.drift) < 0.03, `${startMs} ${seekMs} ${behind}: ${player.drift}`);
    }
  }
});

test('a player in a hidden page starts without waiting for a timer', async () => {
  const document = Object.assign(new EventTarget(), { visibilityState: 'hidden' });
  const { time, video, player } = watching({ seekMs: 40 }, { timeline: PAUSED }, { document });
  await time.pass(1000);
  player.follow({ ...PAUSED, at: time.now + 300, playing: true });
  assert.equal(video.paused, false);
  await time.pass(5000);
  assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
});

test('a player that plays already waits for a start in the future', async () => {
  const { time, video, player } = watching({ seekMs: 40 });
  await time.pass(3000);
  const at = time.now + 400;
  player.follow({ position: 103, at, playing: true, rate: 1 });
  assert.equal(video.paused, true);
  assert.equal(player.playing, true);
  await time.pass(2000);
  assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
});

test('a player in step is neither moved nor steered much', async () => {
  const { time, video } = watching({ seekMs: 40 });
  await time.pass(5000);
  const before = video.seeks;
  let most = 0;
  for (let i = 0; i < 600; i += 1) {
    await time.pass(100);
    most = Math.max(most, Math.abs(video.playbackRate - 1));
  }
  assert.equal(video.seeks, before);
  assert.ok(most <= 0.03, `${most}`);
});

test('the rate of the room is kept, and steering multiplies it', async () => {
  for (const rate of [0.5, 2]) {
    const { time, video, player } = watching({ seekMs: 40 }, { timeline: { ...PLAYING, rate } });
    await time.pass(5000);
    assert.equal(video.playbackRate, rate);
    assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
    player.refine({ position: player.position + 0.3, at: time.now, playing: true, rate });
    await time.pass(300);
    assert.ok(video.playbackRate > rate && video.playbackRate <= rate * 1.1 + 1e-9, `${video.playbackRate}`);
    await time.pass(20_000);
    assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
  }
});

test('a player that refuses rates is left alone below a jump, and moved beyond it', async () => {
  const { time, video, player } = watching({ seekMs: 0, exactRates: false });
  await time.pass(3000);
  player.refine({ position: player.position + 0.3, at: time.now, playing: true, rate: 1 });
  const before = video.seeks;
  await time.pass(10_000);
  assert.equal(player.steerable, false);
  assert.equal(video.seeks, before);
  assert.ok(Math.abs(player.drift + 0.3) < 0.05, `${player.drift}`);
  player.refine({ position: player.position + 0.8, at: time.now, playing: true, rate: 1 });
  await time.pass(10_000);
  assert.ok(Math.abs(player.drift) < 0.5, `${player.drift}`);
  assert.ok(video.seeks > before);
});

test('a player whose rates have steps is steered', async () => {
  const { time, player } = watching({ seekMs: 0, rateStep: 0.01 });
  await time.pass(3000);
  for (const drift of [0.005, 0.1]) {
    player.refine({ position: player.position + drift, at: time.now, playing: true, rate: 1 });
    await time.pass(10_000);
    assert.equal(player.steerable, true);
    assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
  }
});

test('the policy of the room counts', async () => {
  const { time, video, player } = watching({ seekMs: 0 });
  player.sync = { jump: 5, steerFrom: 1, steerUntil: 0.5, maxRate: 1.05 };
  await time.pass(3000);
  const before = video.seeks;
  player.refine({ position: player.position + 3, at: time.now, playing: true, rate: 1 });
  await time.pass(1000);
  assert.ok(Math.abs(video.playbackRate - 1.05) < 1e-9, `${video.playbackRate}`);
  assert.equal(video.seeks, before);
  player.sync = null;
  await time.pass(1000);
  assert.equal(video.seeks, before + 1);
});

test('the status tells a player that waits for data, cannot play, or is not seen', async () => {
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const { time, video, player } = watching({}, {}, { document });
  const told = [];
  player.on('status', (status) => told.push(status));
  await time.pass(2000);
  video.readyState = 2;
  await time.pass(500);
  assert.deepEqual(told, []);
  await time.pass(700);
  video.readyState = 4;
  await time.pass(500);
  assert.deepEqual(told, ['buffering', 'watching']);
  document.visibilityState = 'hidden';
  await time.pass(4000);
  assert.equal(player.status, 'watching');
  await time.pass(2000);
  document.visibilityState = 'visible';
  await time.pass(500);
  assert.deepEqual(told, ['buffering', 'watching', 'away', 'watching']);
});

test('a player that the browser blocks starts after a click, where the room is', async () => {
  const { time, video, player } = watching({ seekMs: 40 }, { timeline: PAUSED });
  await time.pass(500);
  const { play } = video;
  video.play = async () => {
    throw Object.assign(new Error('click first'), { name: 'NotAllowedError' });
  };
  player.follow({ ...PLAYING, at: time.now });
  await time.pass(3000);
  assert.deepEqual([player.blocked, player.telling, player.status], [true, false, 'away']);
  video.play = play;
  player.unblock();
  await time.pass(3000);
  assert.ok(!video.paused && Math.abs(player.drift) < 0.03, `${player.drift}`);
});

test('a person that uses the own menu of the player is heard, and the library is not', async () => {
  const { time, video, player } = watching({ seekMs: 40 });
  const told = [];
  player.on('intent', (control) => told.push(control));
  await time.pass(2000);
  video.pause();
  assert.deepEqual(told, ['pause']);
  player.follow({ ...PAUSED, position: player.position });
  video.play();
  assert.deepEqual(told, ['pause', 'play']);
  player.close();
  video.pause();
  assert.equal(time.timers, 0);
  assert.deepEqual(told, ['pause', 'play']);
});

test('what comes between the press and the start counts', async () => {
  for (const [what, act] of [
    ['a pause', ({ player }) => player.follow({ ...PAUSED, position: 100.5 })],
    ['a seek', ({ player }) => player.hold(300)],
    ['another title', ({ player }) => {
      player.load('https://tandemd.invalid/videos/other.webm');
      player.follow({ ...PAUSED, position: 0 });
    }],
    ['the end', ({ player }) => player.close()],
  ]) {
    const watched = watching({ startMs: 50 }, { timeline: PAUSED });
    const { time, video, player } = watched;
    await time.pass(1000);
    player.follow({ ...PAUSED, at: time.now + 400, playing: true });
    await time.pass(200);
    act(watched);
    await time.pass(3000);
    assert.deepEqual(video.moved, [], what);
    assert.equal(player.playing, false, what);
  }
});

test('a laptop that has slept for ten minutes is in step again', async () => {
  // The time that has passed counts the sleep in some browsers, and in others not.
  for (const counts of [true, false]) {
    const time = new SimulatedTime();
    const video = new SimulatedVideo(time, { seekMs: 60 });
    let slept = 0;
    const server = () => 5_000_000 + time.now + slept;
    const clock = new ServerClock(time.environment);
    const sample = () => clock.sample({ began: time.now - 40, ended: time.now, received: server() - 20, sent: server() - 20 });
    sample();
    clock.smooth = true;
    const player = new PlaybackController(video, { clock, environment: time.environment });
    player.follow({ position: 100, at: server(), playing: true, rate: 1 });
    for (let i = 0; i < 10; i += 1, await time.pass(1000)) sample();
    assert.ok(Math.abs(player.drift) < 0.03, `${player.drift}`);
    if (counts) time.now += 600_000;
    else slept = 600_000;
    const before = video.seeks;
    // The library asks for the time when the page is seen again.
    await time.pass(100);
    sample();
    await time.pass(4000);
    assert.ok(Math.abs(player.drift) < 0.05, `${counts}: ${player.drift}`);
    assert.ok(Math.abs(video.currentTime - (100 + (server() - 5_001_000) / 1000)) < 0.5, `${counts}: ${video.currentTime}`);
    assert.ok(video.seeks - before <= 2, `${counts}: ${video.seeks - before}`);
  }
});

test('a player that is paused stands where the room stands, also if it has gone on a little', async () => {
  const { time, video, player } = watching({ seekMs: 40 });
  await time.pass(3000);
  const before = video.seeks;
  player.follow({ position: video.currentTime, at: 0, playing: false, rate: 1 });
  assert.equal(video.seeks, before + 1);
});
