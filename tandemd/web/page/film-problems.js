// Why a film does not play, and further attempts to play it.

import { asked } from './display.js';
import { obstacle } from './film-obstacles.js';
import { parsedTitle } from './titles.js';

const NETWORK = 2;
const DECODE = 3;
// The pauses before the attempts that the page makes by itself.
const RETRY_AFTER_MS = [1000, 4000];
// A film that has played for so long since its last error has the first attempt before it again.
const GOOD_AFTER_MS = 60_000;

/*
 * Return why the player has failed: 'mixed', 'notAllowed', 'gone' for a file of this computer, 'missing', 'members' for films
 * that only members may load, 'unreachable', 'format', 'unclear' if it may be missing or have a wrong format, or 'broken' for a film that has played.
 */
export async function diagnosis({ url, address, entries, video, files, hasPlayed }) {
  const { kind } = parsedTitle(url);
  const known = obstacle(url, entries, video);
  if (known) return known;
  if (kind === 'file') return (await files.isReadable(url)) ? (hasPlayed ? 'broken' : 'format') : 'gone';
  const answer = await asked(address);
  if (!answer) return 'unreachable';
  if ([401, 403].includes(answer.status)) return kind === 'video' ? 'members' : 'missing';
  if (answer.status >= 500) return 'unreachable';
  if (answer.status >= 400) return 'missing';
  if (hasPlayed) return 'broken';
  // Some sites do not let this page see the status.
  return answer.status ? 'format' : 'unclear';
}

// Whether another site's film can be moved: without ranges of bytes, a seek starts the film over.
export function isSeekable({ seekable, duration }) {
  return !Number.isFinite(duration) || duration === 0 || (seekable.length > 0 && seekable.end(seekable.length - 1) > 0);
}

/*
 * Loads a film again after errors of the network or the decoder, twice by itself.
 * diagnose(hasPlayed): returns a promise of the reason. reload(): loads the film at the room's position. changed(): the state
 * has changed.
 */
export class Recovery {
  // '' while the film plays or loads, 'retrying', or a reason as of `diagnosis`.
  state = '';
  #video;
  #events;
  #attempts = 0;
  #failedAt = -Infinity;
  #hasPlayed = false;
  #timer = 0;
  // Counts films and errors, so that a late diagnosis of an earlier one changes nothing.
  #turn = 0;

  constructor(video, events) {
    this.#video = video;
    this.#events = events;
    video.addEventListener('error', (event) => this.#failed(event.timeStamp));
    video.addEventListener('loadedmetadata', () => {
      this.#hasPlayed = true;
      this.#set('');
    });
  }

  // Another film is loaded.
  reset() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.#attempts = 0;
    this.#hasPlayed = false;
    this.#set('');
  }

  // The person asks for another attempt.
  again() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.#set('retrying');
    this.#events.reload();
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.#events.changed();
  }

  async #failed(at) {
    if (!this.#video.getAttribute('src')) return;
    const turn = (this.#turn += 1);
    if (at - this.#failedAt > GOOD_AFTER_MS) this.#attempts = 0;
    this.#failedAt = at;
    const passing = [NETWORK, DECODE].includes(this.#video.error?.code) || this.#hasPlayed;
    const pause = RETRY_AFTER_MS[this.#attempts];
    if (passing && pause !== undefined) {
      this.#retry(pause);
      return;
    }
    const reason = await this.#events.diagnose(this.#hasPlayed);
    if (turn !== this.#turn) return;
    if (reason === 'unreachable' && pause !== undefined) this.#retry(pause);
    else this.#set(reason);
  }

  #retry(pause) {
    this.#attempts += 1;
    this.#set('retrying');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#events.reload(), pause);
  }
}
