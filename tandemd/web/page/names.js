// The names that members are shown by.

import { t } from './language.js';

/*
 * Return a member's name. A member without one gets a number that its user id determines, so that all pages show the same.
 * name: '' or null for none.
 */
export function shownName(name, userId) {
  if (name) return name;
  let hash = 0x811c9dc5;
  // FNV-1a.
  for (const letter of userId) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return t('guest', { number: 100 + (hash % 900) });
}
