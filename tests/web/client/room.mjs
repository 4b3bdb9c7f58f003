// A room as its messages tell of it.

import assert from 'node:assert/strict';
import test from 'node:test';

import { Room } from '../../../tandemd/web/client/index.js';

const STATE = {
  type: 'ROOM_STATE', roomId: 'r', url: '', currentTime: 0, isPlaying: false, hostUserId: 'ann', guestControlEnabled: false,
  users: [{ userId: 'ann', username: 'Ann' }, { userId: 'bob', username: 'Bob' }], epoch: 1, seq: 5, prev: 5, serverTime: 0,
};

function entered(state = {}) {
  const room = new Room();
  room.apply({ ...STATE, ...state });
  return room;
}

test('a state tells who may control and whether the room is locked', () => {
  const room = entered({ locked: true, controllers: ['bob'] });
  assert.equal(room.locked, true);
  assert.equal(room.mayControl('bob'), true);
  assert.equal(entered().locked, false);
  assert.equal(entered().mayControl('bob'), false);
});

test('the lock follows its messages', () => {
  const room = entered();
  assert.equal(room.apply({ type: 'ROOM_LOCKED', locked: true, seq: 6, prev: 5 }), 'people');
  assert.equal(room.locked, true);
  room.apply({ type: 'ROOM_LOCKED', locked: false, seq: 7, prev: 6 });
  assert.equal(room.locked, false);
});

test('the last BANS counts, until a new state', () => {
  const room = entered();
  const bans = [{ userId: 'dan', username: 'Dan' }];
  assert.equal(room.apply({ type: 'BANS', bans }), 'people');
  assert.deepEqual(room.bans, bans);
  assert.equal(room.seq, 5);
  room.apply(STATE);
  assert.deepEqual(room.bans, []);
  room.apply({ type: 'BANS', bans });
  room.apply({ type: 'HOST_CHANGED', hostUserId: 'bob', seq: 6, prev: 5 });
  assert.deepEqual(room.bans, []);
});

test('a kicked member controls nothing when it is back', () => {
  const room = entered({ controllers: ['bob'] });
  room.apply({ type: 'USER_LEFT', userId: 'bob', reason: 'kicked', seq: 6, prev: 5 });
  room.apply({ type: 'USER_JOINED', userId: 'bob', username: 'Bob', seq: 7, prev: 6 });
  assert.equal(room.mayControl('bob'), false);
  const told = room.lines.map(({ kind, name, reason }) => [kind, name, reason]);
  assert.deepEqual(told, [['left', 'Bob', 'kicked'], ['joined', 'Bob', undefined]]);
});

test('lines keep the name that a member had then', () => {
  const room = entered();
  room.apply({ type: 'USER_JOINED', userId: 'cid', username: '\u05e9\u05dc\u05d5\u05dd', seq: 6, prev: 5 });
  room.apply({ type: 'HOST_CHANGED', hostUserId: 'cid', seq: 7, prev: 6 });
  room.apply({ type: 'CONTROL_DELEGATED', userId: 'bob', enabled: true, seq: 8, prev: 7 });
  room.apply({ type: 'USER_LEFT', userId: 'cid', reason: 'kicked', seq: 9, prev: 8 });
  room.apply({ type: 'CHAT', userId: 'cid', username: null, text: 'hello', timestamp: 1, seq: 10, prev: 9 });
  const names = room.lines.map(({ kind, name }) => [kind, name]);
  const shalom = '\u05e9\u05dc\u05d5\u05dd';
  assert.deepEqual(names, [['joined', shalom], ['host', shalom], ['control', 'Bob'], ['left', shalom], ['chat', 'Guest']]);
});

test('messages are taken in once, and a hole is found', () => {
  const room = entered();
  const chat = (seq, prev, part) => ({ type: 'CHAT', userId: 'bob', username: 'Bob', text: `${seq}`, timestamp: 0, seq, prev, part });
  assert.equal(room.apply(chat(6, 5)), 'chat');
  assert.equal(room.apply(chat(6, 5)), 'repeated');
  assert.equal(room.apply(chat(5, 4)), 'repeated');
  assert.equal(room.apply(chat(8, 7)), 'hole');
  assert.equal(room.apply(chat(7, 6, [1, 2])), 'chat');
  assert.equal(room.apply(chat(7, 6, [1, 2])), 'repeated');
  assert.equal(room.apply(chat(7, 6, [2, 2])), 'chat');
  assert.equal(room.apply(chat(9, 7)), 'chat');
  assert.deepEqual(room.version, { epoch: 1, seq: 9 });
  assert.equal(room.lines.length, 4);
});

test('a member that came back is told if lines are missing', () => {
  for (const [state, gaps] of [
    [{ resumed: false, prev: 9, seq: 9 }, 1],
    [{ resumed: false, prev: 9, seq: 9, epoch: 2 }, 1],
    [{ resumed: false, prev: 5, seq: 8, epoch: 2 }, 0],
    [{ resumed: true, prev: 9, seq: 9 }, 0],
    [{ prev: 9, seq: 9 }, 0],
  ]) {
    const room = entered();
    room.apply({ ...STATE, ...state });
    assert.equal(room.lines.filter(({ kind }) => kind === 'gap').length, gaps, JSON.stringify(state));
  }
  assert.deepEqual(entered({ resumed: false, prev: 5 }).lines, []);
});

test('the timeline has a rate, and may begin in the future', () => {
  const room = entered({ isPlaying: true, currentTime: 10, serverTime: 1000, rate: 2 });
  assert.equal(room.positionAt(2000), 12);
  room.apply({ type: 'PLAY_PAUSE', control: 'play', currentTime: 20, timestamp: 5000, at: 5300.5, seq: 6, prev: 5 });
  assert.equal(room.positionAt(5200), 20);
  assert.equal(room.positionAt(6300.5), 21);
  room.apply({ type: 'RATE_CHANGED', rate: 1.5, currentTime: 21, at: 6300.5, seq: 7, prev: 6 });
  assert.equal(room.positionAt(7300.5), 22.5);
  room.apply({ type: 'HOST_HEARTBEAT', currentTime: 30, isPlaying: true, timestamp: 9000, rate: 1.5, seq: 7 });
  assert.equal(room.positionAt(10_000), 31.5);
  room.apply({ type: 'URL_CHANGE', url: 'https://films.example/', seq: 8, prev: 7 });
  assert.deepEqual([room.timeline.rate, room.timeline.playing], [1, false]);
});

test('a member says how it watches, and that ends with its departure', () => {
  const room = entered({ users: [{ userId: 'ann', username: 'Ann', status: 'away' }, { userId: 'bob', username: 'Bob' }] });
  assert.deepEqual([...room.statuses], [['ann', 'away']]);
  assert.equal(room.apply({ type: 'MEMBER_STATUS', userId: 'bob', status: 'buffering', seq: 6, prev: 5 }), 'people');
  assert.equal(room.statuses.get('bob'), 'buffering');
  room.apply({ type: 'USER_LEFT', userId: 'bob', seq: 7, prev: 6 });
  assert.equal(room.statuses.has('bob'), false);
});

test('a state that is none is an error, and the room stays as it was', () => {
  const room = entered();
  for (const broken of [{ users: null }, { currentTime: 'x' }, { seq: undefined }]) {
    assert.throws(() => room.apply({ ...STATE, ...broken }), { code: 'bad_answer' });
  }
  assert.equal(room.users.size, 2);
});
