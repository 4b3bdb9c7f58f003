// Globals of browsers that are missing, forbidden, or full, for the tests of the library and of the page.

export const throws = () => {
  throw new DOMException('denied', 'SecurityError');
};
// Full, or forbidden as in a private window: it reads, and does not write.
const readOnly = { getItem: () => null, setItem: throws, removeItem: throws };
export const working = () => {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text), removeItem: (key) => kept.delete(key) };
};

// Define a global for a test. value: undefined for a missing one; `throws` for one that must not even be read.
export function define(context, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  const get = value === throws ? throws : () => value;
  Object.defineProperty(globalThis, name, { get, configurable: true });
  const names = defined.get(context) ?? new Set();
  defined.set(context, names);
  if (names.has(name)) return;
  names.add(name);
  context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
}

const defined = new WeakMap();

export const STORAGES = { missing: undefined, 'switched off': null, forbidden: throws, full: readOnly };
