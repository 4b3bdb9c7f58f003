// Decides how a player that is off the timeline gets back: by a seek, by its rate, or not at all. Touches no player.

/*
 * The policy, in seconds; a server may send another one in ROOM_STATE.
 * jump: beyond this the player seeks. steerFrom, steerUntil: beyond the first it plays faster or slower, until it is closer than
 * the second, by factors from 2 - maxRate to maxRate.
 */
export const SYNC_DEFAULTS = Object.freeze({ jump: 0.5, steerFrom: 0.02, steerUntil: 0.005, maxRate: 1.1 });

const STEER_PER_SECOND = 0.8;
// Right after a start, differences are undone faster.
const SETTLING_STEER_PER_SECOND = 4;
const JUMP_PAUSE_MS = 1500;
// The cost of a jump shows after this time.
const JUMP_MEASURED_MS = 600;
// After two jumps in vain: twice as long after each, at most the last of these.
const VAIN_PAUSE_MS = [6000, 12_000, 24_000, 30_000];
const LEAD_LIMIT = 6;

export class Corrections {
  policy = SYNC_DEFAULTS;
  // Seconds that a jump while playing aims ahead: what the last one has cost.
  lead = 0;
  #environment;
  #steering = false;
  #jumpedAt = -Infinity;
  #measureLead = false;
  // Jumps since this player was last in step.
  #vain = 0;

  constructor(environment) {
    this.#environment = environment;
  }

  // Another title: what was in vain for the last one may work for this one.
  forget() {
    this.#vain = 0;
  }

  // The player jumps now. moving: whether it plays on from there.
  jumped(moving) {
    this.#jumpedAt = this.#environment.elapsedMs();
    this.#measureLead = moving;
  }

  // A jump came too late.
  failed() {
    this.#vain += 1;
  }

  // The player plays at the room's rate.
  steadied() {
    this.#steering = false;
  }

  // Whether the last jump is so long ago that a paused player may jump again.
  get rested() {
    return this.#environment.elapsedMs() - this.#jumpedAt > JUMP_PAUSE_MS;
  }

  /*
   * Return what a playing player does: null for a jump to `lead` seconds ahead of the timeline, else the share of the room's rate.
   * drift: seconds that it is ahead. stalled: whether it waits for data. settling: whether it has just started.
   */
  decide(drift, { stalled, settling }) {
    const since = this.#environment.elapsedMs() - this.#jumpedAt;
    if (this.#measureLead && since > JUMP_MEASURED_MS && !stalled) {
      // A jump takes its time: next time, aim so far ahead.
      this.#measureLead = false;
      this.lead = Math.min(LEAD_LIMIT, Math.max(0, this.lead - drift));
      // The pause after a jump in vain begins when it is over.
      if (this.#vain > 1) this.#jumpedAt = this.#environment.elapsedMs();
    }
    const { jump, steerFrom, steerUntil, maxRate } = this.policy;
    if (Math.abs(drift) <= jump) {
      this.#vain = 0;
    } else if (this.#mayJump(since, stalled)) {
      this.#vain += 1;
      return null;
    }
    // A player that has just started is brought as close as it can be.
    this.#steering = Math.abs(drift) > (this.#steering || settling ? steerUntil : steerFrom);
    if (!this.#steering) return 1;
    const turn = -drift * (settling ? SETTLING_STEER_PER_SECOND : STEER_PER_SECOND);
    return Math.max(2 - maxRate, Math.min(maxRate, 1 + turn));
  }

  // Not before the cost of the last jump is known, and after two in vain only now and then: a player that needs longer
  // for a jump than it gains would never play.
  #mayJump(since, stalled) {
    if ((this.#measureLead || stalled) && since < VAIN_PAUSE_MS.at(-1)) return false;
    if (this.#vain < 2) return since > JUMP_PAUSE_MS;
    return since > VAIN_PAUSE_MS[Math.min(this.#vain - 2, VAIN_PAUSE_MS.length - 1)];
  }
}
