// A party of this page: the party of the client library, with the identity of this tab, and the problems as texts.

import { Party as ClientParty } from '../client/party.js';
import { environment } from './browser.js';
import { Hosting } from './host-actions.js';
import { serverUrl } from './server-url.js';

/*
 * options: {roomId, pin, name, url}; url: the title for a room that this page creates, '' for none.
 * events: source(url), the address from which the player loads a title, or null; state(connectionState, error), changed(what)
 * with what Room.apply says, problem(text, code), knock(message) for a KNOCK.
 */
export class Party extends ClientParty {
  #identity;
  #options;
  #events;

  constructor(video, identity, options, events) {
    const memory = identity.recall(options.roomId);
    super({
      url: serverUrl('ws').replace(/^http/, 'ws'),
      roomId: options.roomId,
      userId: identity.userId,
      username: options.name,
      pin: options.pin || memory.pin,
      auth: identity.ticket?.token,
      media: video,
      source: events.source,
      memory,
      calls: true,
      environment,
      // The views name the members without a name.
      options: { nameless: '' },
    });
    this.#identity = identity;
    this.#options = options;
    this.#events = events;
    this.hosting = new Hosting(this.connection, events.problem);
    this.on('problem', (error) => this.#complain(error));
    this.on('message', (message) => message.type === 'KNOCK' && events.knock(message));
    this.on('changed', (what) => this.#changed(what));
    this.on('state', (state, error) => this.#entered(state, error));
    environment.onMediaKeys({ play: () => this.intend('play'), pause: () => this.intend('pause') });
  }

  get ticket() {
    return this.#identity.ticket;
  }

  retry(username, pin) {
    super.retry({ username, pin });
  }

  leave() {
    this.#identity.forgetRoom();
    super.leave();
    this.player.load(null);
  }

  // The rejections of controls are told as problems.
  control(control) {
    return super.control(control).catch((error) => this.#complain(error));
  }

  seek(position) {
    return super.seek(position).catch((error) => this.#complain(error));
  }

  // The rate of the film, for all members.
  changeRate(rate) {
    return super.setRate(rate).catch((error) => this.#complain(error));
  }

  #complain(error) {
    this.#events.problem(error.message, error.code);
  }

  #changed(what) {
    if (this.room.id && what !== 'player') {
      this.#identity.remember(this.#options.roomId, { ...this.memory, pin: this.pin });
    }
    this.#events.changed(what);
  }

  #entered(state, error) {
    this.#events.state(state, error);
    const { url } = this.#options;
    if (state !== 'connected' || !url) return;
    // Only a room that this page has created gets the title, and only once.
    this.#options.url = '';
    if (!this.room.url && this.host) this.show(url).catch((problem) => this.#complain(problem));
  }
}
