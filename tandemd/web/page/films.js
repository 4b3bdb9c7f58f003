// The film of the party: where this page takes it from, what is missing for it, and why it does not play.

import { element, say, showNotice } from './dom.js';
import { diagnosis, isSeekable, Recovery } from './film-problems.js';
import { onFile } from './film-sources.js';
import { t } from './language.js';
import { whenLoaded } from './lazy.js';
import { clock, shownBytes } from './numbers.js';
import { listVideos } from './server-films.js';
import { isolated, webAddress } from './text.js';
import { parsedTitle } from './titles.js';

export class Films {
  #video = element('video');
  #party;
  #sources;
  #recovery;
  #shownUrl = '';
  // The title for which the person has closed a warning.
  #accepted = '';
  #reloads = 0;
  // The title of which the film was loaded again after the server had seen the member's token.
  #admittedFor = '';
  // The SubtitleChoice, once there is a choice.
  #subtitles = null;

  // party: may change until the first `changed`. sources: the FilmSources of the page.
  constructor(party, sources) {
    this.#party = party;
    this.#sources = sources;
    this.#recovery = new Recovery(this.#video, {
      diagnose: (hasPlayed) => this.#diagnose(hasPlayed),
      reload: () => this.#reload(),
      changed: () => this.changed(),
    });
    onFile(element('film-copy'), element('film-copy-input'), (file) => this.#openCopy(file));
    onFile(element('film-file'), element('film-file-input'), (file) => this.#showFile(file));
    onFile(element('subtitles-file'), element('subtitles-file-input'), (file) => this.#ownSubtitles(file));
    element('film-again').onclick = () => this.#recovery.again();
    element('film-accept').onclick = () => {
      this.#accepted = this.#shownUrl;
      this.changed();
    };
    for (const type of ['loadedmetadata', 'durationchange', 'emptied']) {
      this.#video.addEventListener(type, () => this.changed());
    }
  }

  // Takes what is dropped on the page. See StartFilm.
  get dropTarget() {
    return { file: (file) => this.#dropped(file), link: (address) => this.#linked(address) };
  }

  // The resume token of this member, '' before the party.
  get token() {
    return this.#party.connection.token ?? '';
  }

  // The party or the player has changed.
  changed() {
    const { url } = this.#party.room;
    if (url !== this.#shownUrl) {
      this.#shownUrl = url;
      this.#recovery.reset();
      this.#subtitles?.forget();
      if (parsedTitle(url).kind === 'video') this.#enterVideos(url);
    }
    this.#showPrompt(url);
  }

  // Have the room show a title, if nothing is known against it. The problem is told in the dialog.
  show(title) {
    const complain = (text) => say(element('film-problem'), text);
    const text = this.#sources.refusal(title);
    complain(text);
    if (text) return;
    this.#party.show(title).then(
      () => element('film-dialog').open && element('film-dialog').querySelector('.close').click(),
      (error) => complain(error.message),
    );
  }

  // -- files and links

  async #showFile(file) {
    say(element('film-problem'), '');
    try {
      const files = await this.#sources.openFiles();
      this.show(await files.titleOf(file));
    } catch (error) {
      const text = this.#sources.fileProblem(error, file);
      if (element('film-dialog').open) say(element('film-problem'), text);
      else showNotice(text);
    }
  }

  #dropped(file) {
    if (/\.(vtt|srt)$/i.test(file.name)) {
      this.#ownSubtitles(file);
    } else if (parsedTitle(this.#shownUrl).kind === 'file' && !this.#sources.addressFor(this.#shownUrl)) {
      this.#openCopy(file);
    } else if (this.#party.mayControl) {
      this.#showFile(file);
    } else {
      showNotice(t('error.forbidden'));
    }
  }

  #linked(address) {
    const url = webAddress(address);
    if (!url) return;
    const text = this.#party.mayControl ? this.#sources.refusal(url) : t('error.forbidden');
    if (text) showNotice(text);
    else this.#party.show(url).catch((error) => showNotice(error.message));
  }

  // The member's own copy of the film.
  async #openCopy(file) {
    const url = this.#shownUrl;
    try {
      const files = await this.#sources.openFiles();
      await files.openFor(url, file);
    } catch (error) {
      showNotice(this.#sources.fileProblem(error, file));
      return;
    }
    this.#accepted = '';
    this.#recovery.reset();
    if (url === this.#party.room.url) this.#reload();
  }

  // Load the film at the room's position.
  async #reload() {
    const { url } = this.#party.room;
    if (parsedTitle(url).kind === 'video') await this.#enterVideos(url);
    this.#reloads += 1;
    this.#party.player.load(this.#freshAddress(url));
    this.#party.player.follow(this.#party.room.timeline);
    this.changed();
  }

  // Browsers keep what they have of a film by its address, also damaged data. The server ignores the query.
  #freshAddress(url) {
    const isOurs = ['clip', 'video'].includes(parsedTitle(url).kind);
    const address = this.#sources.addressFor(url);
    return isOurs ? `${address}?again=${this.#reloads}` : address;
  }

  // Show the server the member's token, where it requires one, and find the subtitles beside the film.
  async #enterVideos(url) {
    const { path } = parsedTitle(url);
    const directory = path.split('/').slice(0, -1).join('/');
    const { token } = this;
    try {
      // The first list is the one that admits the player.
      const top = await listVideos({ token });
      const { films } = directory ? await listVideos({ directory, token }) : top;
      const found = films.find((one) => one.path === path)?.subtitles ?? [];
      if (found.length) this.#withSubtitles((choice) => url === this.#shownUrl && choice.offer(found));
    } catch {
      // The film itself shows the same problem.
    }
  }

  // -- subtitles

  #withSubtitles(use) {
    whenLoaded(
      () => import('./subtitle-choice.js'),
      ({ SubtitleChoice }) => {
        this.#subtitles ??= new SubtitleChoice(this.#video);
        use(this.#subtitles);
      },
    );
  }

  #ownSubtitles(file) {
    this.#withSubtitles((choice) => choice.takeFile(file));
  }

  // -- what the person should know

  #showPrompt(url) {
    const { text, buttons } = this.#state(url);
    element('film-prompt').hidden = !text;
    say(element('film-prompt-text'), text);
    for (const id of ['film-copy', 'film-again', 'film-accept']) element(id).hidden = !buttons.includes(id);
    element('film-prompt').dataset.kind = buttons.includes('film-accept') ? 'warning' : 'problem';
    const { dataset } = element('app');
    if (dataset.film !== this.#recovery.state) dataset.film = this.#recovery.state;
  }

  // Return what to say about the film, and the buttons that help.
  #state(url) {
    const title = parsedTitle(url);
    const { state } = this.#recovery;
    if (title.kind === 'file' && !this.#sources.addressFor(url)) return { text: this.#request(title), buttons: ['film-copy'] };
    if (state === 'retrying') return { text: t('films.retrying'), buttons: [] };
    if (state) {
      const own = title.kind === 'file' ? ['film-copy'] : [];
      return { text: this.#sources.reason(state, url), buttons: ['film-again', ...own] };
    }
    if (url && this.#accepted !== url) {
      const text = this.#warning(url, title);
      if (text) return { text, buttons: title.kind === 'file' ? ['film-copy', 'film-accept'] : ['film-accept'] };
    }
    return { text: '', buttons: [] };
  }

  #request({ name, duration, size }) {
    const facts = [duration ? clock(duration) : '', shownBytes(size)].filter(Boolean).join(', ');
    return t('films.request', { name: isolated(name), facts });
  }

  #warning(url, { kind, duration }) {
    const differs = kind === 'file' ? this.#sources.files?.differenceFor(url) : null;
    if (differs?.seconds) {
      const values = { here: clock(duration + differs.seconds), there: clock(duration) };
      return t(differs.seconds > 0 ? 'films.longer' : 'films.shorter', values);
    }
    if (differs) return t('films.otherSize');
    const loaded = this.#video.readyState >= HTMLMediaElement.HAVE_METADATA;
    return kind === 'web' && loaded && !isSeekable(this.#video) ? t('films.noSeek') : '';
  }

  async #diagnose(hasPlayed) {
    const { url } = this.#party.room;
    if (parsedTitle(url).kind === 'video' && !hasPlayed && this.#admittedFor !== url) {
      // The player may have asked before the server knew it as a member's.
      this.#admittedFor = url;
      await this.#reload();
      return 'retrying';
    }
    const { entries, files } = this.#sources;
    return diagnosis({ url, address: this.#sources.addressFor(url), entries, video: this.#video, files, hasPlayed });
  }
}
