// Texts about commands that the server has rejected, a JOIN that waits or was rejected, and about a member that was removed: the
// reason, and the remedy.

import { hasText, t } from './language.js';
import { isolated } from './text.js';

// error: the ERROR of a JOIN that stays pending.
export function waiting(error) {
  const known = error.code === 'rate_limited' ? error.limit || 'busy' : error.code;
  if (!hasText(`wait.${known}`)) return error.code === 'rate_limited' ? waiting({ ...error, limit: '' }) : problem(error.code, error.message);
  const then = error.retryAfterMs > 1000 ? t('time.in', { time: span(error.retryAfterMs) }) : t('time.soon');
  return t(`wait.${known}`, { then });
}

// Return the text about a rejected command. fallback: the server's or the client's own words.
export function problem(code, fallback) {
  const key = [`error.${code}`, `out.${code}`].find(hasText);
  return key ? t(key) : t('error.other', { message: fallback });
}

// Whether another PIN may end the wait for a JOIN.
export function waitsForPin(error) {
  return error.code === 'rate_limited' && Boolean(error.limit?.startsWith('pin_'));
}

// How long a wait is, in words.
export function span(ms) {
  const [seconds, minutes] = [Math.max(1, Math.ceil(ms / 1000)), Math.ceil(ms / 60_000)];
  return seconds < 60 ? t('time.seconds', { n: seconds }) : t('time.minutes', { n: minutes });
}

// Whether another try with the same link may succeed.
export function mayRetry(error) {
  return !['banned', 'closed', 'unauthorized'].includes(error.code);
}

/*
 * error: a RoomError of the client library. pin: the PIN of the JOIN. ticket: the Ticket of the JOIN, or null. now: the server's time in ms since 1970; null if it is unknown.
 */
export function refusal(error, { pin, ticket, now }) {
  const sentences = [refused(error, { pin, ticket, now })];
  if (error.code === 'kicked' && error.retryAfterMs) sentences.push(t('out.back', { time: span(error.retryAfterMs) }));
  if (error.reason) sentences.push(t('out.reason', { reason: isolated(error.reason) }));
  return sentences.join(' ');
}

function refused(error, { pin, ticket, now }) {
  switch (error.code) {
    case 'bad_pin':
      return t(pin ? 'out.wrongPin' : 'out.needsPin');
    case 'kicked':
    case 'closed':
      return t(`out.${error.code}`);
    case 'banned':
      // To a newcomer the server does not say which of the two it is.
      return t(error.wasIn ? 'out.banned' : 'out.bannedOrAddress');
    case 'forbidden':
      return t('out.refused');
    case 'unauthorized':
      return unauthorized(error, ticket, now);
  }
  return problem(error.code, error.message);
}

function unauthorized(error, ticket, now) {
  if (!ticket) return t('out.needsLink');
  if (!ticket.readable) return t('out.damaged');
  if (now !== null && ticket.expiresAt <= now) return t('out.expired');
  return t('out.otherParty', { message: error.message });
}
