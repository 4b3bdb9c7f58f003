// The commands that wait for their answers.

// The room remembers this many commands of a member: more without an answer might be carried out twice, or be "forgotten".
const MAX_UNANSWERED = 8;

export class CommandQueue {
  #environment;
  #commands = new Map();

  constructor(environment) {
    this.#environment = environment;
  }

  // Return the promise of an answer to a message with an id. late(): returns the error after withinMs without an answer.
  add(message, withinMs, late) {
    return new Promise((resolve, reject) => {
      const timer = this.#environment.setTimeout(() => this.reject(message.id, late()), withinMs);
      this.#commands.set(message.id, { message, sent: false, timer, resolve, reject });
    });
  }

  // Send, in order, what was not sent on this connection and may be by now.
  flush(send) {
    let unanswered = 0;
    for (const command of this.#commands.values()) {
      unanswered += 1;
      if (unanswered > MAX_UNANSWERED) return;
      if (command.sent) continue;
      command.sent = true;
      send(command.message);
    }
  }

  // Have everything without an answer sent again: the connection was lost.
  rewind() {
    for (const command of this.#commands.values()) command.sent = false;
  }

  resolve(id, answer) {
    this.#take(id)?.resolve(answer);
  }

  reject(id, error) {
    this.#take(id)?.reject(error);
  }

  rejectAll(error) {
    for (const id of [...this.#commands.keys()]) this.reject(id, error);
  }

  #take(id) {
    const command = this.#commands.get(id);
    this.#commands.delete(id);
    this.#environment.clearTimeout(command?.timer);
    return command;
  }
}
