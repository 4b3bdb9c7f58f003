// The dialog in which a member chooses the party's film.

import { connectDialog } from './dialogs.js';
import { element, say } from './dom.js';
import { problem } from './error-texts.js';
import { t } from './language.js';
import { webAddress } from './text.js';
import { CLIP } from './titles.js';

export class FilmDialog {
  #party;
  #dialog = connectDialog('film-dialog', 'film-open', () => this.#complain(''));

  // films: the Films of the party. browse(chosen): shows the films of the server, see StartFilm.
  constructor(party, films, browse) {
    this.#party = party;
    element('title-form').addEventListener('submit', (event) => {
      event.preventDefault();
      const address = webAddress(element('title-url').value.trim());
      if (address) this.#show(address);
      else this.#complain(t('film.badAddress'));
    });
    element('title-clip').onclick = () => this.#show(CLIP);
    element('film-videos').onclick = () => browse((title) => films.show(title));
  }

  open() {
    this.#dialog.open();
  }

  #complain(text) {
    say(element('title-error'), text);
  }

  #show(url) {
    this.#complain('');
    this.#party.show(url).then(
      () => {
        element('title-url').value = '';
        this.#dialog.close();
      },
      (error) => this.#complain(problem(error.code, error.message)),
    );
  }
}
