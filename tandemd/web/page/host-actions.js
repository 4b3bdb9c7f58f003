// The host's commands. Every promise is resolved when the room has accepted or rejected the command; problem(text, code)
// reports a rejection.

import { problem } from './error-texts.js';
import { t } from './language.js';

export class Hosting {
  #connection;
  #problem;

  constructor(connection, problem) {
    this.#connection = connection;
    this.#problem = problem;
  }

  makeHost(userId) {
    return this.#ask({ type: 'TRANSFER_HOST', targetUserId: userId });
  }

  letGuestsControl(enabled) {
    return this.#ask({ type: 'TOGGLE_GUEST_CONTROL', enabled });
  }

  letControl(userId, enabled) {
    return this.#ask({ type: 'DELEGATE_CONTROL', targetUserId: userId, enabled });
  }

  lock(locked) {
    return this.#ask({ type: 'LOCK_ROOM', locked });
  }

  // Whether the film waits for members that buffer.
  waitForBuffering(enabled) {
    return this.#ask({ type: 'WAIT_FOR_BUFFERING', enabled });
  }

  kick(userId, reason) {
    return this.#ask({ type: 'KICK', targetUserId: userId, reason });
  }

  // byAddress: keep out newcomers from this member's address too.
  ban(userId, reason, byAddress) {
    return this.#ask({ type: 'BAN', targetUserId: userId, reason, byAddress });
  }

  // Admit a user again after a kick or ban.
  letIn(userId) {
    return this.#ask({ type: 'UNBAN', targetUserId: userId });
  }

  // Answer a newcomer at the locked room.
  admit(userId, admitted) {
    return this.#ask({ type: 'ADMIT', targetUserId: userId, admitted });
  }

  #ask(message) {
    return this.#connection.command(message).catch((error) => {
      if (error.code === 'no_such_member') this.#problem(t(message.type === 'UNBAN' ? 'people.alreadyIn' : 'people.alreadyGone'));
      else this.#problem(error.code === 'forbidden' ? t('error.hostOnly') : problem(error.code, error.message));
    });
  }
}
