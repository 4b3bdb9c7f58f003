// The negotiation of a call when relays come again: a lost connection may repeat them, also late.

import assert from 'node:assert/strict';
import test from 'node:test';

import { CallPeer, PEER_DEFAULTS } from '../../../tandemd/web/client/call-peer.js';

// Follows the states of a negotiation, and has no media. Each description differs from the one before, as in browsers.
class FakeConnection {
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  candidates = [];
  #versions = 0;

  addTransceiver() {}
  getTransceivers() {
    return [];
  }
  createDataChannel() {
    return { readyState: 'connecting' };
  }
  setConfiguration() {}
  restartIce() {}
  close() {}

  async setLocalDescription() {
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.#versions += 1;
    this.localDescription = { type, sdp: `o=- ${this.id} ${this.#versions}` };
    this.signalingState = type === 'answer' ? 'stable' : 'have-local-offer';
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = description.type === 'answer' ? 'stable' : 'have-remote-offer';
  }

  async addIceCandidate(candidate) {
    this.candidates.push(candidate);
  }
}

// Return a peer, its connections, and the messages that it has sent.
function peerOf(userId) {
  const [connections, sent] = [[], []];
  const call = {
    environment: { setTimeout: () => 0, clearTimeout() {} },
    connect: async () => {
      const connection = new FakeConnection();
      connection.id = connections.push(connection);
      return connection;
    },
    configuration: async () => ({}),
    send: async (type, fields) => void sent.push({ type, ...fields }),
    track: () => null,
    flags: {},
    newStream: () => ({ getTracks: () => [], getAudioTracks: () => [] }),
    changed() {},
    silent() {},
    trouble: (peer, error) => assert.fail(error),
  };
  const peer = new CallPeer({ userId, polite: false, modern: true, call, options: PEER_DEFAULTS });
  return { peer, connections, sent };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));
const answer = (version) => ({ type: 'ANSWER', answer: { type: 'answer', sdp: `o=- 77 ${version}` } });

test('a repeated ANSWER does not answer the next OFFER', async () => {
  const { peer, connections, sent } = peerOf('bob');
  peer.offer();
  peer.receive(answer(1));
  await settled();
  const [connection] = connections;
  assert.equal(connection.signalingState, 'stable');
  peer.restart();
  await settled();
  assert.deepEqual(sent.map(({ type }) => type), ['OFFER', 'OFFER']);
  peer.receive(answer(1));
  await settled();
  assert.equal(connection.signalingState, 'have-local-offer');
  peer.receive(answer(2));
  peer.receive(answer(2));
  await settled();
  assert.equal(connection.signalingState, 'stable');
  assert.equal(connection.remoteDescription.sdp, answer(2).answer.sdp);
});

test('a repeated ANSWER does not answer the OFFER of the next connection', async () => {
  const { peer, connections } = peerOf('bob');
  peer.offer();
  peer.receive(answer(1));
  peer.offer();
  peer.receive(answer(1));
  await settled();
  assert.equal(connections[1].signalingState, 'have-local-offer');
});

test('a repeated OFFER is answered again by the same connection, and a repeated candidate does no harm', async () => {
  const { peer, connections, sent } = peerOf('bob');
  const offer = { type: 'OFFER', offer: { type: 'offer', sdp: 'o=- 77 1' } };
  const candidate = { type: 'ICE_CANDIDATE', candidate: { candidate: 'x' } };
  for (const message of [offer, candidate, offer, candidate]) peer.receive(message);
  await settled();
  assert.equal(connections.length, 1);
  assert.equal(connections[0].signalingState, 'stable');
  assert.deepEqual(sent.map(({ type }) => type), ['ANSWER', 'ANSWER']);
});
