// The choice of subtitles: those beside a film of the server, and a file of the member's own.

import { element, made, showNotice } from './dom.js';
import { videoAddress } from './film-sources.js';
import { t } from './language.js';
import { Subtitles } from './subtitles.js';
import { isolated } from './text.js';

const OWN = 'own';

export class SubtitleChoice {
  #subtitles;
  #select = element('subtitles');
  // The own file, or paths of the server's: {label, load()}.
  #choices = new Map();

  constructor(video) {
    this.#subtitles = new Subtitles(video);
    this.#select.onchange = () => this.#choose(this.#select.value);
  }

  // Another film is shown.
  forget() {
    this.#subtitles.hide();
    this.#choices.clear();
    this.#fill('');
  }

  // paths: of the files beside the film, below the server's directory.
  offer(paths) {
    for (const path of paths) {
      const load = async () => (await fetch(videoAddress(path))).arrayBuffer();
      this.#choices.set(path, { label: path.split('/').at(-1), load });
    }
    this.#fill(this.#select.value);
  }

  // Show the subtitles of a file of this computer.
  takeFile(file) {
    this.#choices.set(OWN, { label: file.name, load: () => file.arrayBuffer() });
    this.#fill(OWN);
    this.#choose(OWN);
  }

  #fill(chosen) {
    const option = (value, text) => Object.assign(made('option', '', text), { value });
    const options = [...this.#choices].map(([value, { label }]) => option(value, label));
    this.#select.replaceChildren(option('', t('films.noSubtitles')), ...options);
    this.#select.value = chosen;
  }

  async #choose(key) {
    const choice = this.#choices.get(key);
    this.#subtitles.hide();
    if (!choice) return;
    const bytes = await choice.load().catch(() => null);
    // The film may be another by now.
    if (choice !== this.#choices.get(key)) return;
    if (bytes && this.#subtitles.show(bytes, choice.label)) return;
    this.#choices.delete(key);
    this.#fill('');
    showNotice(t('films.badSubtitles', { name: isolated(choice.label) }));
  }
}
