// The call on the page: the members' tiles, and buttons for camera, microphone and devices.

import { Call, signallingOf } from '../client/calls.js';
import { environment, store, stored } from './browser.js';
import { connectDialog } from './dialogs.js';
import { element, label, made, madeButton, nameNode, say, showNotice } from './dom.js';
import { t } from './language.js';
import { shownName } from './names.js';
import { isolated } from './text.js';

const SVG = 'http://www.w3.org/2000/svg';
const MEMORY = 'tandem.call';
const PATHS = {
  leave: 'M12 8c4.4 0 8 1.6 10 4l-2.4 3.6-4.3-1.5v-2.6a12 12 0 0 0-6.6 0v2.6l-4.3 1.5L2 12c2-2.4 5.6-4 10-4z',
  microphone: 'M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 10h2v1a4 4 0 0 0 8 0v-1h2v1a6 6 0 0 1-5 5.9V21h-2v-4.1A6 6 0 0 1 6 11z',
  camera: 'M3 6a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v3.2l5-3v11.6l-5-3V18a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  devices: 'M4 6h8.2a3 3 0 0 1 5.6 0H20v2h-2.2a3 3 0 0 1-5.6 0H4zm0 10h2.2a3 3 0 0 1 5.6 0H20v2h-8.2a3 3 0 0 1-5.6 0H4z',
  sound: 'M4 9.5v5h3.6L13 19V5L7.6 9.5zM15.4 8.5v7a4 4 0 0 0 0-7z',
};

function icon(name, className = '') {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', className);
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', PATHS[name]);
  svg.append(path);
  return svg;
}

function iconButton(id, name) {
  const button = madeButton('icon');
  button.id = id;
  button.append(icon(name));
  return button;
}

// One member's picture.
class Tile {
  line = made('li', 'call-tile');
  mute = madeButton('icon call-mute');
  #video = made('video');
  #letter = made('span', 'call-letter');
  #name = nameNode('', 'call-name');
  #note = made('span', 'call-note');

  constructor(userId, own) {
    this.line.dataset.user = userId;
    this.#video.autoplay = true;
    this.#video.playsInline = true;
    // The own sound would echo.
    this.#video.muted = own;
    this.#video.tabIndex = -1;
    this.#letter.setAttribute('aria-hidden', 'true');
    this.mute.append(icon('sound'));
    this.mute.hidden = own;
    const bar = made('div', 'call-tile-bar');
    bar.append(icon('microphone', 'call-silent'), this.#name, this.mute);
    this.line.append(this.#video, this.#letter, this.#note, bar);
  }

  show(name, { stream, camera, microphone, muted = false, state = 'connected' }) {
    if (this.#video.srcObject !== stream) {
      this.#video.srcObject = stream;
      // The browser may want a click first; the one on "join" was one.
      this.#video.play().catch(() => {});
    }
    const { line } = this;
    line.dataset.camera = String(camera);
    line.dataset.microphone = String(microphone && !muted);
    line.dataset.state = state;
    say(this.#name, name);
    say(this.#letter, [...name][0]?.toUpperCase() ?? '');
    line.dataset.own = String(this.mute.hidden);
    const notes = { connecting: t('call.connecting'), reconnecting: t('call.reconnecting') };
    say(this.#note, notes[state] ?? (microphone ? '' : t('call.silent')));
    this.mute.setAttribute('aria-pressed', String(muted));
    label(this.mute, t(muted ? 'call.unmute' : 'call.mute', { name: isolated(name) }));
  }
}

export class CallView {
  #party;
  #call;
  #tiles = new Map();
  #list = made('ul', 'call-tiles');
  #bar = made('div', 'call-bar');
  #join = element('call-join');
  #leave = iconButton('call-leave', 'leave');
  #toggles = { microphone: iconButton('call-microphone', 'microphone'), camera: iconButton('call-camera', 'camera') };
  #selects = {};
  #relay;
  #memory = { camera: true, microphone: true, devices: {}, relayOnly: false, ...stored('browser', MEMORY) };

  // party: the Party of the client library, whose call this is.
  constructor(party) {
    this.#party = party;
    const { relayOnly } = this.#memory;
    this.#call = new Call({ signalling: signallingOf(party), self: party.me, options: { relayOnly }, environment });
    this.#build();
    this.#call.on('changed', () => this.changed());
    this.#call.on('speaking', (userId, speaking) => this.#speaks(userId, speaking));
    this.#call.on('problem', (error) => this.#complain(error));
    party.on('state', (state) => ['refused', 'elsewhere', 'offline'].includes(state) && this.#call.end());
    party.on('changed', (what) => what === 'people' && this.changed());
    addEventListener('pagehide', () => this.#call.leave());
    this.changed();
  }

  #build() {
    const home = element('call');
    this.#list.setAttribute('aria-label', t('call.members'));
    const devices = iconButton('call-devices', 'devices');
    label(devices, t('call.devices'));
    label(this.#leave, t('call.leave'));
    this.#leave.classList.add('danger');
    this.#leave.onclick = () => {
      this.#call.leave();
      this.#join.focus();
    };
    this.#bar.setAttribute('role', 'group');
    this.#bar.setAttribute('aria-label', t('call.title'));
    this.#bar.append(...Object.values(this.#toggles), devices, this.#leave);
    for (const [device, button] of Object.entries(this.#toggles)) button.onclick = () => this.#toggle(device);
    home.append(this.#list, this.#bar);
    element('app').append(this.#dialog());
    const { open } = connectDialog('call-dialog', 'call-devices', () => this.#listDevices());
    devices.onclick = open;
  }

  #dialog() {
    const dialog = made('dialog', 'dialog');
    dialog.id = 'call-dialog';
    dialog.setAttribute('aria-labelledby', 'call-dialog-title');
    const title = made('h2', '', t('call.devices'));
    title.id = 'call-dialog-title';
    title.tabIndex = -1;
    title.setAttribute('autofocus', '');
    const fields = ['microphone', 'camera'].map((device) => this.#field(device));
    const relay = made('label', 'check');
    const box = made('input');
    box.type = 'checkbox';
    box.id = 'call-relay';
    box.checked = this.#memory.relayOnly;
    box.onchange = () => {
      this.#remember({ relayOnly: box.checked });
      showNotice(t('call.relayNext'));
    };
    relay.append(box, made('span', '', t('call.relayOnly')));
    this.#relay = relay;
    const close = madeButton('close', t('close'));
    const row = made('div', 'row');
    row.append(close);
    dialog.append(title, ...fields, relay, row);
    return dialog;
  }

  #field(device) {
    const field = made('div', 'field');
    const select = (this.#selects[device] = made('select'));
    select.id = `call-${device}-device`;
    const name = made('label', '', t(`call.${device}`));
    name.htmlFor = select.id;
    select.onchange = () => {
      this.#remember({ devices: { ...this.#memory.devices, [device]: select.value } });
      this.#call.useDevice(device, select.value);
    };
    field.append(name, select);
    return field;
  }

  async #listDevices() {
    this.#relay.hidden = !this.#call.hasRelay;
    for (const [device, select] of Object.entries(this.#selects)) {
      const found = await this.#call.devices(device);
      const options = found.map(({ id, label: text }, at) => {
        const option = made('option', '', text || `${t(`call.${device}`)} ${at + 1}`);
        option.value = id;
        return option;
      });
      select.replaceChildren(...(options.length ? options : [made('option', '', t('call.none'))]));
      select.disabled = !options.length;
      select.value = this.#call.deviceId(device) || options[0]?.value || '';
    }
  }

  #remember(values) {
    Object.assign(this.#memory, values);
    store('browser', MEMORY, this.#memory);
  }

  // Join the call.
  async enter() {
    const { camera, microphone, devices } = this.#memory;
    for (const [device, id] of Object.entries(devices)) this.#call.useDevice(device, id);
    this.#join.disabled = true;
    try {
      await this.#call.join({ camera, microphone });
      this.#leave.focus();
    } catch {
      showNotice(t('call.failed'));
    }
    this.#join.disabled = false;
  }

  async #toggle(device) {
    const on = !this.#call[device];
    await (device === 'camera' ? this.#call.setCamera(on) : this.#call.setMicrophone(on));
    this.#remember({ [device]: on });
  }

  #complain({ device, code }) {
    showNotice(t(`call.fault.${code}`, { device: t(`call.${device}`) }));
  }

  #speaks(userId, speaking) {
    const tile = this.#tiles.get(userId);
    if (tile) tile.line.dataset.speaking = String(speaking);
  }

  changed() {
    const call = this.#call;
    const isIn = call.state !== 'out';
    const { room, me } = this.#party;
    element('app').dataset.call = call.state;
    element('call-out').hidden = isIn;
    this.#list.hidden = this.#bar.hidden = !isIn;
    for (const [device, button] of Object.entries(this.#toggles)) {
      button.setAttribute('aria-pressed', String(call[device]));
      label(button, t(`call.${call[device] ? 'off' : 'on'}.${device}`));
    }
    this.#draw(isIn ? [{ userId: me, ...call.flags, stream: call.stream }, ...call.tiles] : [], room);
  }

  #draw(tiles, room) {
    const shown = new Set(tiles.map(({ userId }) => userId));
    for (const [userId, tile] of this.#tiles) {
      if (shown.has(userId)) continue;
      tile.line.remove();
      this.#tiles.delete(userId);
    }
    for (const state of tiles) {
      const { userId } = state;
      let tile = this.#tiles.get(userId);
      if (!tile) {
        tile = new Tile(userId, userId === this.#party.me);
        tile.mute.onclick = () => this.#call.mute(userId, tile.mute.getAttribute('aria-pressed') !== 'true');
        this.#tiles.set(userId, tile);
        this.#list.append(tile.line);
      }
      const name = userId === this.#party.me ? t('people.you') : shownName(room.users.get(userId), userId);
      tile.show(name, state);
    }
  }
}
