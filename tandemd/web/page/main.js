// The start of the page: the identity, the link, and then the party itself.

import { tokenIn } from './auth-token.js';
import { replaceAddress } from './browser.js';
import { preferredLanguages } from './display.js';
import { element, hideNotice, showConnection, showNotice, showScreen } from './dom.js';
import { problem, waiting } from './error-texts.js';
import { Films } from './films.js';
import { Identity } from './identity.js';
import { Start } from './join-form.js';
import { chooseLanguage, t, translatePage } from './language.js';
import { Party } from './room-controller.js';
import { PartyView } from './room-view.js';
import { serverUrl } from './server-url.js';

function address(roomId) {
  // The PIN must not stay where it is seen and copied.
  replaceAddress(serverUrl(roomId ? `?room=${encodeURIComponent(roomId)}` : ''));
}

function run(identity, invited) {
  const films = new Films();
  let party = null;
  let view = null;
  const begin = (options) => {
    party = new Party(element('video'), identity, options, {
      state: (state, error) => entered(state, error),
      changed: (what) => {
        view?.changed(what);
        films.changed();
      },
      source: (url) => films.source(url),
      knock: (message) => view?.knock(message),
      problem: (text, code) => showNotice(code ? problem(code, text) : text),
    });
    films.attach(party);
    view = new PartyView(party);
    address(options.roomId);
    party.start();
  };
  const start = new Start(identity, invited, films, begin);

  const retry = (name, pin) => party.retry(name, pin);

  // Whether the JOIN has created the room although the person was invited to one.
  function isDead() {
    const { room, ticket } = party;
    return Boolean(invited.roomId) && !invited.revives && !ticket && room.seq === 1 && room.users.size === 1;
  }

  function entered(state, error) {
    showConnection(state);
    view?.changed('connection');
    switch (state) {
      case 'connected':
        hideNotice();
        if (!element('party').hidden) break;
        if (isDead()) {
          party.leave();
          start.ended(invited.roomId);
          break;
        }
        showScreen('party');
        element('play').focus({ preventScroll: true });
        break;
      case 'connecting':
      case 'joining':
        start.busy();
        break;
      case 'waiting':
        if (element('party').hidden) start.waits(error, retry);
        else showNotice(waiting(error), { label: t('start.again'), run: () => party.connection.join() });
        break;
      case 'refused':
        hideNotice();
        if (!element('party').hidden) party.rest();
        start.refused(error, retry, party.clock.known ? party.clock.now() : null);
        break;
      case 'elsewhere':
        party.rest();
        showNotice(t('party.elsewhere'), {
          label: t('party.continueHere'),
          run: () => party.connection.join(),
        });
        break;
    }
  }

  element('leave').onclick = () => {
    party.leave();
    location.assign(serverUrl());
  };

  // A reload: this tab was in the party already.
  const memory = invited.roomId ? identity.recall(invited.roomId) : {};
  if (memory.token) {
    element('start-button').disabled = true;
    begin({ roomId: invited.roomId, pin: '', name: identity.name, url: '' });
  }
}

await chooseLanguage(preferredLanguages());
translatePage();
const identity = new Identity();
const query = new URLSearchParams(location.search);
const asked = query.get('room') ?? query.get('tandemRoom') ?? '';
const token = tokenIn(location.hash);
if (token) {
  // It must not stay where it is seen and copied either.
  replaceAddress(location.pathname + location.search);
  identity.take(token);
} else {
  identity.resume(asked);
}
// Another link, opened in this tab.
addEventListener('hashchange', () => tokenIn(location.hash) && location.reload());
await identity.claim();
run(identity, { roomId: identity.ticket?.roomId || asked, pin: query.get('pin') ?? '', revives: query.has('new') });
