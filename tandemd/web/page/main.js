// The start of the page: the identity, the link, and the form. The party is loaded when it begins.

import { tokenIn } from './auth-token.js';
import { preferredLanguages, replaceAddress } from './browser.js';
import { element } from './dom.js';
import { FilmSources } from './film-sources.js';
import { Identity } from './identity.js';
import { Start } from './join-form.js';
import { chooseLanguage, t, translatePage } from './language.js';
import { loadStyle } from './lazy.js';
import { StartFilm } from './start-film.js';

const PARTY_STYLES = ['party.css', 'films.css'];

function run(identity, invited) {
  const sources = new FilmSources(element('video'));
  const film = new StartFilm(sources);
  const begin = async (options) => {
    const parts = [import('./party-page.js'), ...PARTY_STYLES.map(loadStyle)];
    const [{ PartyPage }] = await Promise.all(parts).catch(() => {
      throw new Error(t('start.unreachable'));
    });
    return new PartyPage({ identity, invited, start, film, sources }, options);
  };
  const start = new Start(identity, invited, film, begin);

  // A reload: this tab was in the party already.
  const memory = invited.roomId ? identity.recall(invited.roomId) : {};
  if (memory.token) {
    start.busy();
    begin({ roomId: invited.roomId, pin: '', name: identity.name, url: '' }).catch((error) => start.failed(error));
  }
}

await chooseLanguage(preferredLanguages());
translatePage();
const identity = new Identity();
const query = new URLSearchParams(location.search);
const asked = query.get('room') ?? query.get('tandemRoom') ?? '';
const token = tokenIn(location.hash);
if (token) {
  // It must not stay where it is seen and copied.
  replaceAddress(location.pathname + location.search);
  identity.take(token);
} else {
  identity.resume(asked);
}
// Another link, opened in this tab.
addEventListener('hashchange', () => tokenIn(location.hash) && location.reload());
await identity.claim();
run(identity, { roomId: identity.ticket?.roomId || asked, pin: query.get('pin') ?? '', revives: query.has('new') });
