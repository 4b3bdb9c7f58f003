// The film and its controls: buttons, sliders, keys, and the texts about where the film is.

import { stored, store } from './browser.js';
import { canFillScreen, canFloat, isFullScreen, toggleFloating, toggleFullScreen } from './display.js';
import { element, label, say } from './dom.js';
import { t } from './language.js';
import { clock } from './numbers.js';
import { listenToKeys, seekSeconds } from './shortcuts.js';
import { shownAddress, webAddress } from './text.js';
import { parsedTitle } from './titles.js';

const MOVING_EVERY_MS = 250;
const IDLE_AFTER_MS = 3000;
const VOLUME_STEP = 10;
const FAR_SECONDS = 0.5;

export class FilmView {
  #party;
  #app = element('app');
  #video = element('video');
  #dragging = false;
  #shownUrl = null;
  #idleTimer = 0;
  // Whether the last touch has shown the controls.
  #woke = false;

  // chatKey(): the person wants to write.
  constructor(party, chatKey) {
    this.#party = party;
    this.#buttons();
    this.#seekBar();
    this.#volume();
    this.#keys(chatKey);
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      document.addEventListener(type, () => this.#busy(type), { passive: true });
    }
    setInterval(() => this.#moving(), MOVING_EVERY_MS);
  }

  get #inRoom() {
    return this.#party.connection.state === 'connected';
  }

  // -- what the person does

  #buttons() {
    const party = this.#party;
    const toggle = () => this.#inRoom && party.toggle();
    element('play').onclick = toggle;
    this.#video.onclick = (event) => {
      // A tap on the film shows the controls that have hidden.
      if (event.pointerType !== 'touch' || !this.#woke) toggle();
    };
    element('join-playback').onclick = () => party.player.unblock();
    element('pip').onclick = () => toggleFloating(this.#video);
    element('fullscreen').onclick = () => toggleFullScreen(this.#app, this.#video);
    element('film-replay').onclick = () => this.#inRoom && party.control('play');
    element('film-next').onclick = () => element('film-open').click();
    element('banner-retry').onclick = () => party.connection.join();
  }

  #seekBar() {
    const [party, seek] = [this.#party, element('seek')];
    seek.addEventListener('input', () => {
      this.#dragging = true;
      this.#times(Number(seek.value));
    });
    seek.addEventListener('change', () => {
      this.#dragging = false;
      party.seek(Number(seek.value));
    });
    // The steps of a range are its precision; keys should go further.
    seek.addEventListener('keydown', (event) => {
      const seconds = seekSeconds(event);
      if (!seconds) return;
      event.preventDefault();
      this.#seekBy(seconds);
    });
  }

  #seekBy(seconds) {
    const seek = element('seek');
    if (seek.disabled) return;
    seek.value = Number(seek.value) + seconds;
    this.#party.seek(Number(seek.value));
    this.#times(Number(seek.value));
  }

  #volume() {
    const [video, slider] = [this.#video, element('volume')];
    const kept = stored('browser', 'tandem.volume');
    if (typeof kept === 'number' && kept >= 0 && kept <= 100) video.volume = kept / 100;
    slider.oninput = () => this.#setVolume(Number(slider.value));
    element('mute').onclick = () => {
      video.muted = !video.muted;
    };
    video.addEventListener('volumechange', () => this.#showVolume());
    this.#showVolume();
  }

  // percent: 0 to 100.
  #setVolume(percent) {
    const volume = Math.max(0, Math.min(100, percent));
    this.#video.volume = volume / 100;
    this.#video.muted = false;
    store('browser', 'tandem.volume', volume);
  }

  #showVolume() {
    const { muted, volume } = this.#video;
    const percent = muted ? 0 : Math.round(volume * 100);
    element('volume').value = percent;
    element('volume').style.setProperty('--done', `${percent}%`);
    element('mute').setAttribute('aria-pressed', String(percent > 0));
  }

  #keys(chatKey) {
    const on = element('keys-on');
    on.checked = stored('browser', 'tandem.keys') !== false;
    on.onchange = () => store('browser', 'tandem.keys', on.checked);
    listenToKeys(document, () => !element('party').hidden, () => on.checked, {
      toggle: () => this.#inRoom && this.#party.toggle(),
      back: () => this.#seekBy(-10),
      forward: () => this.#seekBy(10),
      louder: () => this.#setVolume(Number(element('volume').value) + VOLUME_STEP),
      softer: () => this.#setVolume(Number(element('volume').value) - VOLUME_STEP),
      mute: () => element('mute').click(),
      fullScreen: () => element('fullscreen').click(),
      chat: chatKey,
      help: () => element('keys-open').click(),
    });
  }

  // In full screen the controls hide, until the person moves.
  #busy(type) {
    clearTimeout(this.#idleTimer);
    if (type === 'pointerdown') this.#woke = this.#app.dataset.idle === 'true' && isFullScreen();
    this.#app.dataset.idle = 'false';
    this.#idleTimer = setTimeout(() => {
      this.#app.dataset.idle = String(this.#party.playing);
    }, IDLE_AFTER_MS);
  }

  // -- what is shown

  // The room or the player has changed.
  changed() {
    const party = this.#party;
    const { player, room } = party;
    const { dataset } = this.#app;
    dataset.playing = String(party.playing);
    dataset.blocked = String(player.blocked);
    dataset.control = String(party.mayControl);
    const pauses = party.playing && !player.blocked;
    dataset.button = pauses ? 'pause' : 'play';
    const play = element('play');
    label(play, t(pauses ? 'film.pause' : 'film.play'));
    play.disabled = !room.url;
    play.setAttribute('aria-disabled', String(!this.#inRoom));
    element('film-open').hidden = !party.mayControl;
    element('film-open').disabled = !this.#inRoom;
    element('fullscreen').hidden = !canFillScreen(this.#video);
    element('pip').hidden = !canFloat(this.#video);
    element('join-playback').hidden = !(player.blocked && party.playing);
    say(element('screen-note'), this.#note(player, room));
    say(element('who-controls'), this.#whoControls());
    this.#title(room.url);
    this.#end(player, room);
  }

  // The film has ended here, and nothing else moves the room.
  #end(player, room) {
    const over = Boolean(room.url) && player.loaded && player.ended && !room.hold && !this.#party.pending;
    const { mayControl } = this.#party;
    const box = element('film-over');
    // The button that has the focus goes away with it.
    if (!over && box.contains(document.activeElement)) element('play').focus({ preventScroll: true });
    box.hidden = !over;
    say(element('film-over-text'), over ? t(mayControl ? 'film.over' : 'film.overForGuest') : '');
    for (const id of ['film-replay', 'film-next']) element(id).hidden = !mayControl;
  }

  #moving() {
    const party = this.#party;
    const drift = this.#inRoom && party.room.url ? party.player.drift : null;
    this.#app.dataset.driftMs = drift === null ? '' : String(Math.round(drift * 1000));
    const far = Math.abs(drift) > FAR_SECONDS;
    const seconds = Math.max(1, Math.round(Math.abs(drift)));
    say(element('drift'), drift === null || !party.playing ? '' : !far ? t('film.inStep') : t(drift > 0 ? 'film.ahead' : 'film.behind', { n: seconds }));
    element('drift').dataset.far = String(far);
    if (!this.#dragging) this.#times(party.position);
    this.changed();
  }

  #times(position) {
    const { duration } = this.#party.player;
    const seek = element('seek');
    seek.disabled = !duration || !this.#inRoom;
    seek.max = duration || 1;
    seek.step = 0.1;
    if (!this.#dragging) seek.value = position;
    seek.style.setProperty('--done', `${duration ? (100 * Math.min(position, duration)) / duration : 0}%`);
    seek.setAttribute('aria-valuetext', t('film.positionOf', { position: clock(position), duration: clock(duration) }));
    say(element('time'), clock(position));
    say(element('duration'), clock(duration));
  }

  #note(player, room) {
    if (!room.id) return '';
    if (!room.url) return t(this.#party.mayControl ? 'film.choose' : 'film.hostChooses');
    if (room.hold?.playing && room.hold.ready) return t('film.waiting');
    return player.stalled && !player.blocked ? t('film.loading') : '';
  }

  #whoControls() {
    const { me, room, host } = this.#party;
    if (host) return t('film.youHost');
    if (room.guestControl) return t('film.allControl');
    if (room.controllers.has(me)) return t('film.youControl');
    return t(room.hostId ? 'film.hostControls' : 'film.hostAbsent');
  }

  #title(url) {
    const link = element('title-link');
    if (this.#shownUrl === url) return;
    this.#shownUrl = url;
    const { kind, name } = parsedTitle(url);
    const known = kind === 'web';
    link.hidden = !known;
    // Any member may have set the room's title: only an address that the browser opens as a web page becomes a link.
    if (known && webAddress(url)) link.href = webAddress(url);
    else link.removeAttribute('href');
    link.textContent = known ? shownAddress(url) : '';
    element('title-name').dir = 'auto';
    say(element('title-name'), kind === 'clip' ? t('film.clip') : url ? name : t('film.none'));
  }
}
