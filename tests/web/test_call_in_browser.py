"""Calls of the client library in Chromium, with its fake camera and microphone: through which servers, and after which faults."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..support.browser import BrowserTestCase, Frames, find_chromium
from ..support.coturn import Coturn, turnserver_program
from ..support.patience import PATIENCE_SECONDS

FAKE_DEVICES = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SECRET = "secret" * 8
MEMBER = """
    // A member with small pictures in a room: `party`, `call`, and a video element for each tile.
    async ([url, roomId, userId, withinMs]) => {
        const Real = window.RTCPeerConnection;
        window.connections = [];
        window.RTCPeerConnection = class extends Real {
            constructor(configuration) { super(configuration); window.connections.push(this); }
        };
        const { Call, Party, signallingOf } = await import(url + '/client/index.js');
        const party = new Party({ url: url.replace(/^http/, 'ws') + '/ws', roomId, userId, username: userId, calls: true });
        const options = { video: { width: 160, height: 120, frameRate: 5 } };
        const call = new Call({ signalling: signallingOf(party), self: userId, options });
        Object.assign(window, { party, call, problems: [] });
        call.on('problem', (error) => window.problems.push(`${error.device} ${error.code}`));
        call.on('changed', () => {
            for (const { userId: id, stream } of call.tiles) {
                const video = document.getElementById(id) ?? document.body.appendChild(document.createElement('video'));
                if (video.srcObject === stream) continue;
                Object.assign(video, { id, srcObject: stream, muted: true, autoplay: true });
            }
        });
        party.start();
        await party.joined({ withinMs });
    }
"""
TILE = "window.call.tiles.find(({ userId }) => userId === name)"
FRAMES = "document.getElementById(name).getVideoPlaybackQuality().totalVideoFrames"
OLD_CLIENT = """
    // A client as old as the extension: it offers to each member that joins, answers each offer, drops its own connection
    // when offers cross, and knows neither CALL nor user ids of its own.
    ([room, url]) => new Promise((resolve) => {
        const socket = new WebSocket(url.replace(/^http/, 'ws') + '/ws');
        const peers = window.oldPeers = new Map();
        const early = new Map();
        const say = (type, fields) => socket.send(JSON.stringify({ type, userId: 'user_old', roomId: room, ...fields }));
        const media = navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        const open = async (id) => {
            peers.get(id)?.close();
            const peer = new RTCPeerConnection();
            peers.set(id, peer);
            for (const track of (await media).getTracks()) peer.addTrack(track, await media);
            peer.onicecandidate = ({ candidate }) => candidate && say('ICE_CANDIDATE', { from: 'user_old', to: id, candidate });
            return peer;
        };
        const flush = (id, peer) => { for (const one of early.get(id) ?? []) peer.addIceCandidate(one).catch(() => {}); };
        let chain = Promise.resolve();
        const heard = async (message) => {
            const from = message.userId;
            let peer = peers.get(from);
            if (message.type === 'ROOM_STATE') resolve();
            if (message.type === 'USER_JOINED') {
                peer = await open(from);
                await peer.setLocalDescription();
                say('OFFER', { from: 'user_old', to: from, offer: peer.localDescription });
            } else if (message.type === 'OFFER') {
                try {
                    if (peer?.signalingState !== 'stable') peer = await open(from);
                    await peer.setRemoteDescription(message.offer);
                    flush(from, peer);
                    await peer.setLocalDescription();
                    say('ANSWER', { from: 'user_old', to: from, answer: peer.localDescription });
                } catch {
                    peers.get(from).close();
                    peers.delete(from);
                }
            } else if (message.type === 'ANSWER' && peer?.signalingState === 'have-local-offer') {
                await peer.setRemoteDescription(message.answer);
                flush(from, peer);
            } else if (message.type === 'ICE_CANDIDATE' && message.candidate) {
                if (peer?.remoteDescription) peer.addIceCandidate(message.candidate).catch(() => {});
                else early.set(from, [...(early.get(from) ?? []), message.candidate]);
            }
        };
        socket.onopen = () => say('JOIN', { username: 'Old', pin: null });
        socket.onmessage = ({ data }) => { chain = chain.then(() => heard(JSON.parse(data))); };
    })
"""
OLD_SEES = """() => [...window.oldPeers.values()].some((peer) => peer.connectionState === 'connected'
    && ['audio', 'video'].every((kind) => peer.getReceivers().some(({ track }) => track.kind === kind && !track.muted)))"""


class CallTestCase(BrowserTestCase):
    arguments = FAKE_DEVICES
    _rooms = itertools.count()

    def members(self, *names: str, room: str = "", script: str = "") -> list[Any]:
        """Return pages of members in a room, a new one unless it is named. script: runs before theirs."""
        room = room or f"room-{next(self._rooms)}"
        pages = []
        for name in names:
            context = self.chromium.new_context()
            self.addCleanup(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_SECONDS * 1000)
            page.sent = Frames(page)
            # Any document of the node will do.
            page.goto(f"{self.node.url}/client/package.json")
            if script:
                page.evaluate(script)
            page.evaluate(MEMBER, [self.node.url, room, name, PATIENCE_SECONDS * 1000])
            page.room = room
            pages.append(page)
        return pages

    def join_call(self, *pages: Any) -> None:
        """Let members join the call."""
        for page in pages:
            page.evaluate("window.call.join()")
            page.wait_for_function("() => window.call.state === 'in'")

    def sees(self, page: Any, *names: str) -> None:
        """Wait until the pictures of other members have moved on."""
        for name in names:
            until_connected = f"name => {TILE}?.state === 'connected' && {FRAMES} > 0"
            page.wait_for_function(until_connected, arg=name)
            before = page.evaluate(f"name => {FRAMES}", name)
            page.wait_for_function(f"([name, before]) => {FRAMES} > before + 2", arg=[name, before])

    def tile(self, page: Any, name: str, **state: Any) -> None:
        """Wait until a member's tile is in a state; for `speaking`, until the member speaks or not."""
        page.wait_for_function(
            f"""([name, state]) => {{
                const tile = {TILE};
                const shown = {{ ...tile, speaking: window.call.speaking.has(name) }};
                return tile && Object.entries(state).every(([key, value]) => shown[key] === value);
            }}""",
            arg=[name, state],
        )

    def tiles(self, page: Any, *names: str) -> None:
        """Wait until the tiles are those of some members."""
        shown = "JSON.stringify(window.call.tiles.map(({ userId }) => userId).sort())"
        page.wait_for_function(f"names => {shown} === JSON.stringify(names)", arg=sorted(names))

    def in_call(self, page: Any) -> list[str]:
        """Return the members in the call, as a page knows them."""
        return list(page.evaluate("[...window.call.members].filter(([, inCall]) => inCall).map(([id]) => id).sort()"))


class CallTests(CallTestCase):
    """Calls without STUN and TURN servers, as between two pages in one network."""

    def test_join_and_leave(self) -> None:
        ann, bob, cid = self.members("ann", "bob", "cid")
        self.join_call(ann)
        bob.wait_for_function("() => window.call.members.get('ann') === true")
        self.assertEqual(bob.evaluate("window.connections.length"), 0, "its user is not in the call")
        self.join_call(bob, cid)
        for page, others in ((ann, ("bob", "cid")), (bob, ("ann", "cid")), (cid, ("ann", "bob"))):
            self.sees(page, *others)
            self.assertEqual(self.in_call(page), ["ann", "bob", "cid"])
        bob.evaluate("window.call.leave()")
        for page, other in ((ann, "cid"), (cid, "ann")):
            self.tiles(page, other)
        self.assertEqual(bob.evaluate("window.call.stream.getTracks().length"), 0, "camera and microphone are free")
        self.join_call(bob)
        self.sees(ann, "bob")
        self.sees(bob, "ann")
        # A page that is closed, and opened again.
        cid.reload()
        self.members("cid", room=ann.room)
        self.tiles(ann, "bob")

    def test_camera_microphone_and_mute(self) -> None:
        ann, bob = self.members("ann", "bob")
        self.join_call(ann, bob)
        self.sees(bob, "ann")
        # The fake microphone beeps.
        self.tile(bob, "ann", speaking=True)
        ann.wait_for_function("() => window.call.speaking.has('ann')")
        ann.evaluate("window.call.setCamera(false)")
        self.tile(bob, "ann", camera=False, microphone=True)
        ann.evaluate("window.call.setMicrophone(false)")
        self.tile(bob, "ann", camera=False, microphone=False, speaking=False)
        self.assertEqual(ann.evaluate("window.call.stream.getTracks().length"), 0)
        ann.evaluate("Promise.all([window.call.setCamera(true), window.call.setMicrophone(true)])")
        self.tile(bob, "ann", camera=True, microphone=True, speaking=True)
        self.sees(bob, "ann")
        bob.evaluate("window.call.mute('ann', true)")
        self.tile(bob, "ann", muted=True, speaking=False)
        self.assertFalse(bob.evaluate("window.call.tiles[0].stream.getAudioTracks()[0].enabled"))
        self.assertEqual(len(ann.sent.of("OFFER")) + len(bob.sent.of("OFFER")), 1, "none of this is negotiated")

    def test_devices(self) -> None:
        [ann] = self.members("ann")
        self.join_call(ann)
        cameras = ann.evaluate("window.call.devices('camera')")
        self.assertTrue(cameras and all(camera["label"] for camera in cameras), cameras)
        ann.evaluate("id => window.call.useDevice('camera', id)", cameras[-1]["id"])
        self.assertEqual(ann.evaluate("window.call.deviceId('camera')"), cameras[-1]["id"])
        ann.evaluate("window.call.useDevice('camera', 'none')")
        ann.wait_for_function("() => window.problems.length === 1 && !window.call.camera")
        self.assertEqual(ann.evaluate("window.problems"), ["camera no_device"])

    def test_a_forbidden_camera(self) -> None:
        refuse = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
        [ann] = self.members("ann", script=f"() => {{ {refuse}; }}")
        [bob] = self.members("bob", room=ann.room)
        self.join_call(ann, bob)
        self.assertEqual(ann.evaluate("window.problems"), ["microphone denied", "camera denied"])
        self.sees(ann, "bob")
        self.tile(bob, "ann", state="connected", camera=False, microphone=False)

    def test_the_node_restarts(self) -> None:
        ann, bob, cid = self.members("ann", "bob", "cid")
        self.join_call(ann, bob)
        self.sees(ann, "bob")
        self.node.stop()
        ann.wait_for_function("() => window.party.connection.state !== 'connected'")
        self.sees(ann, "bob")
        self.node.start()
        for page in (ann, bob, cid):
            page.wait_for_function("() => window.party.connection.state === 'connected'")
            self.assertEqual(self.in_call(page), ["ann", "bob"])
        self.sees(ann, "bob")
        self.assertEqual(ann.evaluate("window.connections.length"), 1)
        self.join_call(cid)
        self.sees(cid, "ann", "bob")

    def test_the_network_changes(self) -> None:
        ann, bob = self.members("ann", "bob")
        self.join_call(ann, bob)
        self.sees(ann, "bob")
        fragment = "window.connections[0].localDescription.sdp.match(/ice-ufrag:(\\S+)/)[1]"
        before = ann.evaluate(fragment)
        # Both restart at once, and their offers may cross.
        for page in (ann, bob):
            page.evaluate("window.call.networkChanged()")
        ann.wait_for_function(
            f"before => {fragment} !== before && window.connections[0].signalingState === 'stable'", arg=before
        )
        for page, name in ((ann, "bob"), (bob, "ann")):
            self.sees(page, name)
            self.assertEqual(page.evaluate("window.connections.length"), 1)

    def test_with_an_old_client(self) -> None:
        [ann] = self.members("ann")
        old = self.open()
        old.evaluate(OLD_CLIENT, [ann.room, self.node.url])
        # It came last: it offers to none, and a member that joins the call offers to it.
        self.join_call(ann)
        self.sees(ann, "user_old")
        old.wait_for_function(OLD_SEES)
        # It is there first: its offer to the page has no answer, and the page offers when its user joins.
        [cid] = self.members("cid", room=ann.room)
        self.join_call(cid)
        self.sees(cid, "user_old", "ann")
        self.assertEqual(old.evaluate("window.oldPeers.size"), 2)
        ann.evaluate("window.call.leave()")
        old.wait_for_function("() => window.oldPeers.size === 1")


class RelayTests(CallTestCase):
    """Calls through a TURN server only, with the credentials of each member."""

    coturn: Coturn

    def setUp(self) -> None:
        cls = type(self)
        if "coturn" not in cls.__dict__:
            find_chromium()
            turnserver_program()
            home = Path(tempfile.mkdtemp(prefix="tandemd-coturn-"))
            atexit.register(shutil.rmtree, home, ignore_errors=True)
            cls.coturn = Coturn(home, [SECRET])
            atexit.register(cls.coturn.stop)
            (home / "secret").write_text(SECRET)
            os.chmod(home / "secret", 0o600)
            cls.environ = {
                "TANDEMD_CALLS_ICE_SERVERS": f"turn:127.0.0.1:{cls.coturn.port}?transport=udp",
                "TANDEMD_CALLS_TURN_SECRET_FILE": str(home / "secret"),
                "TANDEMD_CALLS_RELAY_ONLY": "true",
            }
        super().setUp()

    def test_two_pages_see_each_other(self) -> None:
        ann, bob = self.members("ann", "bob")
        self.join_call(ann, bob)
        self.sees(ann, "bob")
        self.sees(bob, "ann")
        for page in (ann, bob):
            self.assertEqual(page.evaluate("window.connections[0].getConfiguration().iceTransportPolicy"), "relay")
            self.assertEqual(self.ways(page), [["relay", "relay"]])
            for message in page.sent.of("ICE_CANDIDATE"):
                if message["candidate"] and message["candidate"]["candidate"]:
                    self.assertIn(" typ relay ", message["candidate"]["candidate"], "no address of its own")

    def test_the_relay_restarts(self) -> None:
        """Both ends lose their way, and look for another with new credentials."""
        ann, bob = self.members("ann", "bob")
        self.join_call(ann, bob)
        self.sees(ann, "bob")
        self.coturn.stop()
        self.tile(ann, "bob", state="reconnecting")
        self.coturn.start()
        for page, name in ((ann, "bob"), (bob, "ann")):
            self.sees(page, name)

    def ways(self, page: Any) -> list[list[str]]:
        """Return the types of the own and of the other's candidate of each connection."""
        found = page.evaluate("""async () => {
            const ways = [];
            for (const connection of window.connections) {
                const stats = await connection.getStats();
                for (const pair of stats.values()) {
                    if (pair.type !== 'candidate-pair' || !pair.nominated || pair.state !== 'succeeded') continue;
                    ways.push([pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.get(id).candidateType));
                }
            }
            return ways;
        }""")
        return [list(way) for way in found]


class PageTests(CallTestCase):
    """The call on the party page."""

    def test_two_pages(self) -> None:
        ann, bob = self.party()
        for page in (ann, bob):
            page.click("#call-join")
            page.wait_for_selector('#app[data-call="in"]')
        for page, name in ((ann, "Bob"), (bob, "Ann")):
            page.wait_for_function(
                """name => [...document.querySelectorAll('.call-tile')].some((tile) =>
                    tile.querySelector('.call-name').textContent === name && tile.querySelector('video').videoWidth > 0)""",
                arg=name,
            )
        bob.click('.call-tile:has-text("Ann") .call-mute')
        bob.wait_for_selector('.call-tile[data-microphone="false"]:has-text("Ann")')
        for device in ("camera", "microphone"):
            ann.click(f"#call-{device}")
            bob.wait_for_selector(f'.call-tile[data-{device}="false"]:has-text("Ann")')
        ann.click("#call-devices")
        ann.wait_for_function("() => document.querySelectorAll('#call-camera-device option').length > 0")
        ann.keyboard.press("Escape")
        bob.click("#people-tab")
        bob.wait_for_selector("#people li:first-child >> text=in the call")
        ann.click("#call-leave")
        bob.wait_for_function("() => document.querySelectorAll('.call-tile').length === 1")
        ann.wait_for_selector("#call .hint >> text=1 person is in the call")
