// The dialog with the films of the server.

import { connectDialog } from './dialogs.js';
import { element, made, madeButton, say } from './dom.js';
import { t } from './language.js';
import { shownBytes } from './numbers.js';
import { listVideos } from './server-films.js';
import { videoTitle } from './titles.js';

const SEARCH_AFTER_MS = 250;

export class VideoList {
  #dialog;
  #token;
  #chosen = () => {};
  #directory = '';
  #timer = 0;
  // Counts requests, so that a late answer changes nothing.
  #turn = 0;

  // token(): a member's token, '' for none.
  constructor(token) {
    this.#token = token;
    this.#dialog = connectDialog('videos-dialog', 'film-videos', () => this.#opening());
    element('videos-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#load();
    });
    element('videos-search').oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#load(), SEARCH_AFTER_MS);
    };
    element('videos-up').onclick = () => this.#enter(this.#directory.split('/').slice(0, -1).join('/'));
  }

  // chosen(title, path): called when the person has chosen a film.
  open(chosen) {
    this.#chosen = chosen;
    this.#dialog.open();
  }

  #opening() {
    element('videos-search').value = '';
    this.#enter(this.#directory);
  }

  #enter(directory) {
    this.#directory = directory;
    element('videos-search').value = '';
    this.#load();
  }

  async #load() {
    const turn = (this.#turn += 1);
    const search = element('videos-search').value.trim();
    let found;
    try {
      found = await listVideos({ directory: this.#directory, search, token: this.#token() });
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#fill([]);
      const key = error.status === 401 ? 'videos.members' : error.status === 404 ? 'videos.gone' : 'start.unreachable';
      say(element('videos-note'), t(key));
      if (error.status === 404 && this.#directory) this.#directory = '';
      return;
    }
    if (turn === this.#turn) this.#show(found, search);
  }

  #show({ directories, films, complete }, search) {
    const below = (name) => (this.#directory ? `${this.#directory}/${name}` : name);
    element('videos-up').hidden = Boolean(search) || !this.#directory;
    say(element('videos-path'), search ? '' : this.#directory);
    const entries = directories.map((name) => this.#entry(`${name}/`, '', () => this.#enter(below(name))));
    for (const film of films) {
      const name = search ? film.path : film.path.split('/').at(-1);
      entries.push(this.#entry(name, shownBytes(film.size), () => this.#choose(film.path)));
    }
    this.#fill(entries);
    const note = !entries.length ? t(search ? 'videos.notFound' : 'videos.empty') : complete ? '' : t('videos.more');
    say(element('videos-note'), note);
  }

  #fill(entries) {
    element('videos-list').replaceChildren(...entries);
  }

  #entry(name, size, run) {
    const item = made('li');
    const button = madeButton('video-entry', '');
    const shown = made('span', 'video-name', name);
    shown.dir = 'auto';
    button.append(shown, made('span', 'hint', size));
    button.onclick = run;
    item.append(button);
    return item;
  }

  #choose(path) {
    this.#dialog.close();
    this.#chosen(videoTitle(path), path);
  }
}
