// Where the films of a party come from: web addresses, the server, or files of this computer. It asks for what is missing,
// and says why a film does not play.

import { element, made, say, showNotice } from './dom.js';
import { listVideos, onDrop, onFile, shownBytes, VideoList, videoAddress } from './film-chooser.js';
import { diagnosis, endingOf, isSeekable, obstacle, Recovery } from './film-problems.js';
import { t } from './language.js';
import { LocalFiles } from './local-file.js';
import { serverUrl } from './server-url.js';
import { Subtitles } from './subtitles.js';
import { isolated, shownAddress, webAddress } from './text.js';
import { parsedTitle, VIDEOS } from './titles.js';

const CLIP_FILE = serverUrl('page/clip.mp4');
const OWN = 'own';
const START = () => element('start-film-problem');
const DIALOG = () => element('film-problem');

// Seconds as 1:02:03.
function clock(seconds) {
  const whole = Math.round(seconds);
  const two = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// The server's allow-list of titles, null if it is unknown.
async function allowedTitles() {
  try {
    const answer = await fetch(serverUrl('api/config'));
    const { titles } = await answer.json();
    return Array.isArray(titles) && titles.every((entry) => typeof entry === 'string') ? titles : null;
  } catch {
    return null;
  }
}

export class Films {
  #video = element('video');
  #party = null;
  #entries = null;
  #files = new LocalFiles();
  #subtitles = new Subtitles(element('video'));
  #recovery;
  #list;
  #shownUrl = '';
  // The title for which the person has closed a warning.
  #accepted = '';
  #reloads = 0;
  // The title of which the film was loaded again after the server had seen the member's token.
  #admittedFor = '';
  // The own file of the subtitles, or paths of the server's: {label, load()}.
  #choices = new Map();

  constructor() {
    this.#recovery = new Recovery(this.#video, {
      diagnose: (hasPlayed) => this.#diagnose(hasPlayed),
      reload: () => this.#reload(),
      changed: () => this.changed(),
    });
    this.#list = new VideoList(() => this.#token);
    this.#buttons();
    this.#forgetSubtitles();
    onDrop({ file: (file) => this.#dropped(file), link: (address) => this.#linked(address) });
    for (const type of ['loadedmetadata', 'durationchange', 'emptied']) {
      this.#video.addEventListener(type, () => this.changed());
    }
    this.#configure();
  }

  async #configure() {
    this.#entries = await allowedTitles();
    const offered = Boolean(this.#entries?.includes(VIDEOS));
    for (const button of [element('start-videos'), element('film-videos')]) button.hidden = !offered;
    if (this.#entries?.includes('https://*') || this.#entries?.includes('*')) {
      say(element('start-url-hint'), t('films.anyAddress'));
    }
    this.#check();
  }

  // Return why the server or the browser will not play a title, as a sentence; '' if nothing is known against it.
  refusal(url) {
    const reason = obstacle(url, this.#entries, this.#video);
    return reason ? this.#reason(reason, url) : '';
  }

  // The title in the form of the start screen, '' for none.
  get chosen() {
    const input = element('start-url');
    return input.dataset.title || input.value.trim();
  }

  // The resume token of this member, '' before a party.
  get #token() {
    return this.#party?.connection.token ?? '';
  }

  // Return the address from which the player loads a title, null for none.
  source(url) {
    const title = parsedTitle(url);
    switch (title.kind) {
      case 'clip':
        return CLIP_FILE;
      case 'video':
        return videoAddress(title.path);
      case 'file':
        return this.#files.addressFor(url);
      case 'web':
        return webAddress(url);
    }
    return null;
  }

  // A party begins.
  attach(party) {
    this.#party = party;
  }

  // The party or the player has changed.
  changed() {
    if (!this.#party) return;
    const { url } = this.#party.room;
    if (url !== this.#shownUrl) {
      this.#shownUrl = url;
      this.#recovery.reset();
      this.#forgetSubtitles();
      if (parsedTitle(url).kind === 'video') this.#enterVideos(url);
    }
    this.#showPrompt(url);
  }

  // -- choosing

  #buttons() {
    const open = (chosen, complain) => (file) => this.#openFile(file, (title) => chosen(title, file.name), complain);
    const chosenForStart = (title, name) => this.#chooseForStart(title, name);
    onFile(element('start-file'), element('start-file-input'), open(chosenForStart, (text) => this.#complain(START, text)));
    onFile(element('film-file'), element('film-file-input'), open((title) => this.#show(title), (text) => this.#complain(DIALOG, text)));
    onFile(element('film-copy'), element('film-copy-input'), (file) => this.#openCopy(file));
    onFile(element('subtitles-file'), element('subtitles-file-input'), (file) => this.#ownSubtitles(file));
    element('start-videos').onclick = () => this.#list.open((title, path) => chosenForStart(title, path.split('/').at(-1)));
    element('film-videos').onclick = () => this.#list.open((title) => this.#show(title));
    element('film-again').onclick = () => this.#recovery.again();
    element('film-accept').onclick = () => {
      this.#accepted = this.#shownUrl;
      this.changed();
    };
    element('subtitles').onchange = () => this.#choose(element('subtitles').value);
    element('start-url').addEventListener('input', () => {
      delete element('start-url').dataset.title;
      this.#check();
    });
  }

  #complain(place, text) {
    say(place(), text);
  }

  // Say before the party starts whether the server allows its film.
  #check() {
    this.#complain(START, this.refusal(this.chosen));
  }

  #chooseForStart(title, name) {
    const input = element('start-url');
    input.value = name;
    input.dataset.title = title;
    this.#check();
  }

  // Measure a file and call chosen(title), or complain(text) if the browser cannot play it.
  async #openFile(file, chosen, complain) {
    complain('');
    let title;
    try {
      title = await this.#files.titleOf(file);
    } catch {
      complain(t('films.badFile', { name: isolated(file.name) }));
      return;
    }
    chosen(title);
  }

  #show(title) {
    const text = this.refusal(title);
    this.#complain(DIALOG, text);
    if (text) return;
    this.#party.show(title).then(
      () => element('film-dialog').open && element('film-dialog').querySelector('.close').click(),
      (error) => this.#complain(DIALOG, error.message),
    );
  }

  #dropped(file) {
    if (/\.(vtt|srt)$/i.test(file.name)) {
      if (this.#party) this.#ownSubtitles(file);
      return;
    }
    if (element('party').hidden) {
      this.#openFile(file, (title) => this.#chooseForStart(title, file.name), (text) => this.#complain(START, text));
    } else if (parsedTitle(this.#shownUrl).kind === 'file' && !this.#files.addressFor(this.#shownUrl)) {
      this.#openCopy(file);
    } else if (this.#party.mayControl) {
      this.#openFile(file, (title) => this.#show(title), (text) => text && showNotice(text));
    } else {
      showNotice(t('error.forbidden'));
    }
  }

  #linked(address) {
    const url = webAddress(address);
    if (!url) return;
    if (element('party').hidden) {
      element('start-url').value = url;
      element('start-url').dispatchEvent(new Event('input'));
    } else if (!this.#party.mayControl) {
      showNotice(t('error.forbidden'));
    } else {
      const text = this.refusal(url);
      if (text) showNotice(text);
      else this.#party.show(url).catch((error) => showNotice(error.message));
    }
  }

  // -- the member's own copy

  async #openCopy(file) {
    const url = this.#shownUrl;
    try {
      await this.#files.openFor(url, file);
    } catch {
      showNotice(t('films.badFile', { name: isolated(file.name) }));
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
    this.#party.player.load(this.#freshSource(url));
    this.#party.player.follow(this.#party.room.timeline);
    this.changed();
  }

  // Browsers keep what they have of a film by its address, also damaged data. The server ignores the query.
  #freshSource(url) {
    const isOurs = ['clip', 'video'].includes(parsedTitle(url).kind);
    return isOurs ? `${this.source(url)}?again=${this.#reloads}` : this.source(url);
  }

  // Show the server the member's token, where it requires one, and find the subtitles beside the film.
  async #enterVideos(url) {
    const { path } = parsedTitle(url);
    const directory = path.split('/').slice(0, -1).join('/');
    const token = this.#token;
    try {
      // The first list is the one that admits the player.
      const top = await listVideos({ token });
      const { films } = directory ? await listVideos({ directory, token }) : top;
      const film = films.find((one) => one.path === path);
      if (url === this.#shownUrl) this.#offerSubtitles(film?.subtitles ?? []);
    } catch {
      // The film itself shows the same problem.
    }
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
    if (title.kind === 'file' && !this.#files.addressFor(url)) return { text: this.#request(title), buttons: ['film-copy'] };
    if (state === 'retrying') return { text: t('films.retrying'), buttons: [] };
    if (state) {
      const own = title.kind === 'file' ? ['film-copy'] : [];
      return { text: this.#reason(state, url), buttons: ['film-again', ...own] };
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
    const differs = kind === 'file' ? this.#files.differenceFor(url) : null;
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
    return diagnosis({
      url,
      address: this.source(url),
      entries: this.#entries,
      video: this.#video,
      files: this.#files,
      hasPlayed,
    });
  }

  #reason(reason, url) {
    const site = shownAddress(url).split('/')[0];
    const ending = endingOf(parsedTitle(url).name || url);
    return t(`films.${reason}`, { site: isolated(site), ending: ending ? ` (.${ending})` : '' });
  }

  // -- subtitles

  #forgetSubtitles() {
    this.#subtitles.hide();
    this.#choices.clear();
    this.#fillSubtitles('');
  }

  #fillSubtitles(chosen) {
    const option = (value, text) => Object.assign(made('option', '', text), { value });
    const options = [...this.#choices].map(([value, { label }]) => option(value, label));
    element('subtitles').replaceChildren(option('', t('films.noSubtitles')), ...options);
    element('subtitles').value = chosen;
  }

  #offerSubtitles(paths) {
    for (const path of paths) {
      const load = async () => (await fetch(videoAddress(path))).arrayBuffer();
      this.#choices.set(path, { label: path.split('/').at(-1), load });
    }
    this.#fillSubtitles(element('subtitles').value);
  }

  #ownSubtitles(file) {
    this.#choices.set(OWN, { label: file.name, load: () => file.arrayBuffer() });
    this.#fillSubtitles(OWN);
    this.#choose(OWN);
  }

  async #choose(key) {
    const [choice, url] = [this.#choices.get(key), this.#shownUrl];
    this.#subtitles.hide();
    if (!choice) return;
    const bytes = await choice.load().catch(() => null);
    if (url !== this.#shownUrl) return;
    if (bytes && this.#subtitles.show(bytes, choice.label)) return;
    this.#choices.delete(key);
    this.#fillSubtitles('');
    showNotice(t('films.badSubtitles', { name: isolated(choice.label) }));
  }
}
