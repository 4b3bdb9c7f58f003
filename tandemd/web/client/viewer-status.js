// The status of a member's player for the other members.

const BUFFERING_AFTER_MS = 700;
const AWAY_AFTER_MS = 5000;

export class ViewerStatus {
  // 'watching', 'buffering', or 'away': it cannot play, or the person does not see it.
  value = 'watching';
  #environment;
  #stalledAt = null;
  #hiddenAt = null;

  constructor(environment) {
    this.#environment = environment;
  }

  // Update the status, and return whether it has changed. stalled: the player waits for data. unable: it cannot play.
  update({ stalled, unable }) {
    const now = this.#environment.elapsedMs();
    if (!stalled) this.#stalledAt = null;
    else this.#stalledAt ??= now;
    if (!this.#environment.isHidden()) this.#hiddenAt = null;
    else this.#hiddenAt ??= now;
    const since = (at, ms) => at !== null && now - at >= ms;
    const away = unable || since(this.#hiddenAt, AWAY_AFTER_MS);
    const before = this.value;
    this.value = away ? 'away' : since(this.#stalledAt, BUFFERING_AFTER_MS) ? 'buffering' : 'watching';
    return this.value !== before;
  }
}
