// The ways to choose a film other than its address: a file of this computer, a film of the server, or a file dropped on the
// page.

import { connectDialog } from './dialogs.js';
import { element, made, madeButton, say } from './dom.js';
import { t } from './language.js';
import { serverUrl } from './server-url.js';
import { videoTitle } from './titles.js';

const SEARCH_AFTER_MS = 250;
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

// A number of bytes for people.
export function shownBytes(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${UNITS[power]}`;
}

const escaped = (path) => path.split('/').map(encodeURIComponent).join('/');

// The address of a film of the server, or of its subtitles.
export const videoAddress = (path) => serverUrl(`videos/${escaped(path)}`);

/*
 * Return the list of a directory of the server, or of a search.
 * token: a member's, '' for none: the server may require it. Rejected with an Error that has the HTTP status.
 */
export async function listVideos({ directory = '', search = '', token = '' }) {
  const query = search ? `?search=${encodeURIComponent(search)}` : '';
  const path = directory && !search ? `${escaped(directory)}/` : '';
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(serverUrl(`videos/${path}${query}`), { headers });
  if (!answer.ok) throw Object.assign(new Error(`HTTP ${answer.status}`), { status: answer.status });
  return answer.json();
}

// Connect a button with its input for a file of this computer. chosen(file).
export function onFile(button, input, chosen) {
  button.onclick = () => input.click();
  input.onchange = () => {
    const [file] = input.files;
    if (file) chosen(file);
    // So that the same file can be chosen again.
    input.value = '';
  };
}

// The dialog with the films of the server.
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

/*
 * Listen for files and links that are dropped on the page. file(file), link(address): called with the first of them.
 */
export function onDrop({ file, link }) {
  const kinds = ['files', 'text/uri-list'];
  const wanted = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => kinds.includes(type.toLowerCase()));
  document.addEventListener('dragover', (event) => wanted(event) && event.preventDefault());
  document.addEventListener('drop', (event) => {
    // Text fields take links by themselves.
    if (!wanted(event) || event.target.closest?.('input, textarea')) return;
    event.preventDefault();
    const [dropped] = event.dataTransfer.files;
    if (dropped) file(dropped);
    else link(event.dataTransfer.getData('text/uri-list').split('\n').find((line) => line && !line.startsWith('#'))?.trim() ?? '');
  });
}
