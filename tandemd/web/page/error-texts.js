// What somebody is told who is not let in yet, not let in, or sent out.

import { isolated } from './text.js';

const WAITING = {
  room_full: 'The party is full. You come in as soon as somebody leaves.',
  locked: 'The host has locked the party. You come in as soon as it is open again.',
  identity_conflict: 'Taking over from your former connection…',
  rate_limited: 'Many want to come in at the moment. You come in when it is your turn.',
  unavailable: 'The server cannot let anybody in at the moment. It tries again by itself.',
};

// error: the ERROR of a JOIN that stays pending.
export function waiting(error) {
  return WAITING[error.code] ?? error.message;
}

// How long a wait is, in words.
export function span(ms) {
  const [seconds, minutes] = [Math.max(1, Math.ceil(ms / 1000)), Math.ceil(ms / 60_000)];
  if (seconds < 60) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}

// What the messages that send somebody out have in common with the ERROR of a JOIN. message: KICKED or ROOM_CLOSED.
export function sentOut(message) {
  const code = message.type === 'ROOM_CLOSED' ? 'closed' : message.banned ? 'banned' : 'kicked';
  const { reason, retryAfterMs } = message;
  return { code, reason, retryAfterMs, wasIn: true, message: 'You are not in the party any more.' };
}

/*
 * error: {code, message, retryAfterMs} of an ERROR, or what `sentOut` returns. pin: the one that was given. ticket: the
 * Ticket that was given, or null. now: ms since 1970.
 */
export function refusal(error, { pin, ticket, now }) {
  const reason = error.reason ? ` The reason given: “${isolated(error.reason)}”` : '';
  switch (error.code) {
    case 'bad_pin':
      return pin ? 'This is not the PIN of that party.' : 'This party has a PIN.';
    case 'kicked': {
      const back = error.retryAfterMs ? ` You can come back in ${span(error.retryAfterMs)}.` : '';
      return `The host has sent you out.${back}${reason}`;
    }
    case 'banned':
      // Of a newcomer the server does not say which of the two it is.
      return error.wasIn
        ? `The host has banned you from this party.${reason}`
        : 'The host lets neither you nor newcomers from your internet address into this party.';
    case 'closed':
      return `This party was ended by whoever runs the server.${reason}`;
    case 'unauthorized':
      return unauthorized(error, ticket, now);
  }
  return error.message;
}

function unauthorized(error, ticket, now) {
  if (!ticket) {
    return 'This server lets you in only by a link of your own, with a token in it. Ask whoever invited you for yours.';
  }
  if (!ticket.readable) return 'Your link is damaged. Ask whoever gave it to you for a new one.';
  if (ticket.expiresAt <= now) return 'Your link has expired. Ask whoever gave it to you for a new one.';
  return `Your link does not let you in. Ask whoever gave it to you for a new one. (The server says: ${error.message})`;
}
