// Texts about a JOIN that waits or was rejected, and about a member that was removed: the reason, and the remedy.

import { isolated } from './text.js';

const WAITING = {
  room_full: 'The party is full. You will join as soon as a member leaves.',
  locked: 'The host has locked the party. You will join as soon as the host unlocks it.',
  identity_conflict:
    'You are in this party with another connection. You will join when that one ends, usually within a minute.',
  unavailable: 'The server cannot open the party at the moment. It keeps trying, and you will join then.',
};

const SHARED = 'All devices on your internet connection count together.';
const KEEP_OPEN = 'Keep this page open: the server checks your PIN';
const CORRECT = 'If your PIN was mistyped, correct it and try again.';
const KEEPS_TRYING = 'Keep this page open: you will join';

// By the limit of an ERROR with the code rate_limited.
const LIMITED = {
  pin_tries_per_address: (then) => `Too many wrong PINs came from your network. ${SHARED} ${KEEP_OPEN} ${then}. ${CORRECT}`,
  pin_tries_per_room: (then) => `Too many wrong PINs were tried for this party. ${KEEP_OPEN} ${then}. ${CORRECT}`,
  joins: (then) => `Too many guests joined from your network in the last minute. ${SHARED} ${KEEPS_TRYING} ${then}.`,
  creations: (then) => `Too many parties were started from your network. ${SHARED} ${KEEPS_TRYING} ${then}.`,
  rooms_per_address: () =>
    `Your network has as many parties as this server allows. ${SHARED} ${KEEPS_TRYING} when one of them ends.`,
  rooms_per_node: () => `The server has as many parties as it can hold. ${KEEPS_TRYING} when one of them ends.`,
  pending_joins: () => `Too many guests from your network wait for this party. ${SHARED} ${KEEPS_TRYING} when one of them has joined.`,
  members_per_address: () =>
    `Too many members of this party come from your network. ${SHARED} ${KEEPS_TRYING} when one of them leaves.`,
};

// error: the ERROR of a JOIN that stays pending.
export function waiting(error) {
  if (error.code !== 'rate_limited') return WAITING[error.code] ?? error.message;
  const then = error.retryAfterMs > 1000 ? `in about ${span(error.retryAfterMs)}` : 'in a moment';
  const text = LIMITED[error.limit] ?? (() => `The server is busy. ${KEEPS_TRYING} ${then}.`);
  return text(then);
}

// Whether another PIN may end the wait for a JOIN.
export function waitsForPin(error) {
  return error.code === 'rate_limited' && Boolean(error.limit?.startsWith('pin_'));
}

// How long a wait is, in words.
export function span(ms) {
  const [seconds, minutes] = [Math.max(1, Math.ceil(ms / 1000)), Math.ceil(ms / 60_000)];
  if (seconds < 60) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  return minutes === 1 ? '1 minute' : `${minutes} minutes`;
}

// Return an error as of a JOIN for a message that removes a member. message: KICKED or ROOM_CLOSED.
export function sentOut(message) {
  const code = message.type === 'ROOM_CLOSED' ? 'closed' : message.banned ? 'banned' : 'kicked';
  const { reason, retryAfterMs } = message;
  return { code, reason, retryAfterMs, wasIn: true, message: 'You are no longer in the party.' };
}

// Whether another try with the same link may succeed.
export function mayRetry(error) {
  return !['banned', 'closed', 'unauthorized'].includes(error.code);
}

/*
 * error: {code, message, retryAfterMs} of an ERROR, or the result of `sentOut`. pin: the PIN of the JOIN. ticket: the
 * Ticket of the JOIN, or null. now: the server's time in ms since 1970; null if it is unknown.
 */
export function refusal(error, { pin, ticket, now }) {
  const reason = error.reason ? ` The reason given: “${isolated(error.reason)}”` : '';
  switch (error.code) {
    case 'bad_pin':
      return pin
        ? 'This is not the PIN of this party. Ask the host for it: the number of tries is limited.'
        : 'This party has a PIN. Ask the host for it.';
    case 'kicked': {
      const back = error.retryAfterMs ? ` You can come back in ${span(error.retryAfterMs)}.` : '';
      return `The host has removed you from the party.${back}${reason}`;
    }
    case 'banned':
      // To a newcomer the server does not say which of the two it is.
      return error.wasIn
        ? `The host has banned you from this party.${reason}`
        : 'The host has banned you or your internet address from this party.';
    case 'closed':
      return `The operator of the server has ended this party.${reason}`;
    case 'unauthorized':
      return unauthorized(error, ticket, now);
  }
  return error.message;
}

function unauthorized(error, ticket, now) {
  if (!ticket) return 'This server requires a personal link. Ask the person who invited you for yours.';
  if (!ticket.readable) return DAMAGED;
  if (now !== null && ticket.expiresAt <= now) return 'Your link has expired. Ask the person who sent it for a new one.';
  return `Your link is not valid for this party. Ask the person who sent it for a new one. (The server says: ${error.message})`;
}

export const DAMAGED = 'Your link is damaged. Ask the person who sent it for a new one.';
