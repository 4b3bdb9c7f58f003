// The playback controller with players that are slow to seek or to start, stall, refuse rates, or end.

import assert from 'node:assert/strict';
import test from 'node:test';

import { PlaybackController } from '../../../tandemd/web/client/index.js';
import { SimulatedTime, SimulatedVideo } from './support.mjs';

const PLAYING = { position: 100, playing: true, rate: 1 };

// A player that follows a room which is at 100 s now.
function watching(film, { timeline = PLAYING } = {}) {
  const time = new SimulatedTime();
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
