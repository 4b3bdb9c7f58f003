// The film in the form of the start screen: an address, a file of this computer, or a film of the server.

import { element, say } from './dom.js';
import { onDrop, onFile } from './film-sources.js';
import { t } from './language.js';
import { whenLoaded } from './lazy.js';
import { webAddress } from './text.js';
import { VIDEOS } from './titles.js';

export class StartFilm {
  // Takes what is dropped on a party: {file(file), link(address)}.
  dropTarget = null;
  // token(): a member's token for the films of the server, '' before a party.
  token = () => '';
  #sources;
  #list = null;

  // sources: the FilmSources of the page.
  constructor(sources) {
    this.#sources = sources;
    const target = { file: (file) => this.#openFile(file), link: (address) => this.#linked(address) };
    onDrop(() => (element('party').hidden ? target : this.dropTarget));
    onFile(element('start-file'), element('start-file-input'), (file) => this.#openFile(file));
    element('start-videos').onclick = () => this.browse((title, path) => this.#choose(title, path.split('/').at(-1)));
    element('start-url').addEventListener('input', () => {
      delete element('start-url').dataset.title;
      this.#check();
    });
    this.#configure();
  }

  // The chosen title, '' for none.
  get title() {
    const input = element('start-url');
    return input.dataset.title || input.value.trim();
  }

  // Return why the title cannot be taken, as a sentence, or ''.
  refusal() {
    return this.title ? this.#sources.refusal(this.title) : '';
  }

  // Show the films of the server. chosen(title, path): called when the person has chosen one.
  browse(chosen) {
    const use = ({ VideoList }) => {
      this.#list ??= new VideoList(() => this.token());
      this.#list.open(chosen);
    };
    whenLoaded(() => import('./video-list.js'), use, ['party.css', 'films.css']);
  }

  async #configure() {
    await this.#sources.configure();
    const { entries } = this.#sources;
    const offered = Boolean(entries?.includes(VIDEOS));
    for (const button of [element('start-videos'), element('film-videos')]) button.hidden = !offered;
    if (entries?.includes('https://*') || entries?.includes('*')) say(element('start-url-hint'), t('films.anyAddress'));
    this.#check();
  }

  // Say before the party starts whether the server allows its film.
  #check() {
    say(element('start-film-problem'), this.refusal());
  }

  #choose(title, name) {
    const input = element('start-url');
    input.value = name;
    input.dataset.title = title;
    this.#check();
  }

  async #openFile(file) {
    say(element('start-film-problem'), '');
    try {
      const files = await this.#sources.openFiles();
      this.#choose(await files.titleOf(file), file.name);
    } catch (error) {
      say(element('start-film-problem'), this.#sources.fileProblem(error, file));
    }
  }

  #linked(address) {
    const url = webAddress(address);
    if (!url) return;
    element('start-url').value = url;
    element('start-url').dispatchEvent(new Event('input'));
  }
}
