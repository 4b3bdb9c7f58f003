// The dialog with the link to the party: an address that friends reach, the invite code, and a QR code.

import { copyText } from './browser.js';
import { connectDialog } from './dialogs.js';
import { element, made, say, showNotice } from './dom.js';
import { t } from './language.js';
import { serverUrl } from './server-url.js';

const ONLY_HERE = /^(localhost|127(\.\d+){3}|\[::1\])$/i;

export class InviteView {
  #party;
  #codeOf = '';
  // Addresses of this computer that other devices may reach; null before the server was asked.
  #hosts = null;

  #dialog = connectDialog('invite-dialog', 'invite-open', () => this.#opening());

  constructor(party) {
    this.#party = party;
    element('invite-copy').onclick = () => this.#copy();
    element('invite-host').onchange = () => this.#link();
  }

  open() {
    this.#dialog.open();
  }

  // The room has changed.
  changed() {
    const { room, pin, ticket } = this.#party;
    // By a token only its bearer comes in.
    element('invite').hidden = Boolean(ticket);
    element('invite-own').hidden = !ticket;
    element('invite-locked').hidden = !room.locked;
    if (ticket) return;
    this.#link();
    say(element('invite-pin'), pin ? t('invite.pin', { pin }) : '');
    this.#code(room.id);
  }

  #code(roomId) {
    if (this.#codeOf === roomId) return;
    this.#codeOf = roomId;
    fetch(serverUrl(`api/short-id/${encodeURIComponent(roomId)}`))
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`HTTP ${answer.status}`))))
      .then((found) => say(element('invite-code'), String(found.shortId)))
      .catch(() => {
        this.#codeOf = '';
      });
  }

  #link() {
    const link = new URL(serverUrl(`?room=${encodeURIComponent(this.#party.room.id)}`));
    const select = element('invite-host');
    const local = ONLY_HERE.test(link.hostname);
    if (local && select.value) link.hostname = select.value;
    element('invite-host-row').hidden = !local || !select.options.length;
    say(element('invite-unreachable'), local && this.#hosts && !select.options.length ? t('invite.unreachable') : '');
    if (element('invite-link').value === link.href) return;
    element('invite-link').value = link.href;
    if (element('invite-dialog').open) this.#draw();
  }

  async #opening() {
    this.changed();
    this.#draw();
    if (this.#hosts || !ONLY_HERE.test(new URL(serverUrl()).hostname)) return;
    const answer = await fetch(serverUrl('api/addresses')).catch(() => null);
    const found = answer?.ok ? await answer.json().catch(() => null) : null;
    this.#hosts = Array.isArray(found?.addresses) ? found.addresses.map(String) : [];
    const options = this.#hosts.map((host) => Object.assign(made('option', '', host), { value: host }));
    element('invite-host').replaceChildren(...options);
    this.#link();
  }

  async #draw() {
    const link = element('invite-link').value;
    try {
      const { qrCode } = await import('./qr-code.js');
      // Another link may have come meanwhile.
      if (link === element('invite-link').value) element('invite-qr').replaceChildren(qrCode(link, t('invite.qr')));
    } catch {
      // The link is too long for a code.
      element('invite-qr').replaceChildren();
    }
  }

  async #copy() {
    const copied = await copyText(element('invite-link'));
    showNotice(t(copied ? 'invite.copied' : 'invite.notCopied'));
  }
}
