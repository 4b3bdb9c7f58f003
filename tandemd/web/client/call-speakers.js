// Who speaks in a call, by the levels of the sound.

export class Speakers {
  // The ids of the members that speak.
  speaking = new Set();
  #options;
  #changed;
  #spoke = new Map();

  // options: {speakingLevel, speakingMs} of CALL_DEFAULTS. changed(userId, speaking): a member begins or ends to speak.
  constructor(options, changed) {
    this.#options = options;
    this.#changed = changed;
  }

  // level: 0 to 1, of a member's sound at a time in ms.
  heard(userId, level, now) {
    if (level > this.#options.speakingLevel) this.#spoke.set(userId, now);
    this.#set(userId, now - (this.#spoke.get(userId) ?? -Infinity) < this.#options.speakingMs);
  }

  // A member is not in the call any more.
  forget(userId) {
    this.#spoke.delete(userId);
    this.#set(userId, false);
  }

  #set(userId, speaking) {
    if (this.speaking.has(userId) === speaking) return;
    if (speaking) this.speaking.add(userId);
    else this.speaking.delete(userId);
    this.#changed(userId, speaking);
  }
}
