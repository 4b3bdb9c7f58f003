// The keys of the page: which key press is a shortcut, and when.

const SEEK_SECONDS = { ArrowLeft: -10, ArrowDown: -10, ArrowRight: 10, ArrowUp: 10, PageDown: -60, PageUp: 60 };
const OVERLAYS = 'dialog[open], [role="dialog"], [role="menu"]';

// The commands, with the names of their keys and the keys of their texts, in the order of the list of keys.
export const KEYS = [
  { command: 'toggle', keys: ['Space', 'K'], text: 'keys.toggle' },
  { command: 'back', keys: ['←', 'J'], text: 'keys.back', repeats: true },
  { command: 'forward', keys: ['→', 'L'], text: 'keys.forward', repeats: true },
  { command: 'louder', keys: ['↑'], text: 'keys.louder', repeats: true },
  { command: 'softer', keys: ['↓'], text: 'keys.softer', repeats: true },
  { command: 'mute', keys: ['M'], text: 'keys.mute' },
  { command: 'fullScreen', keys: ['F'], text: 'keys.fullScreen' },
  { command: 'chat', keys: ['C'], text: 'keys.chat' },
  { command: 'help', keys: ['?'], text: 'keys.help' },
];
const NAMES = { ' ': 'Space', ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓' };
const PRESSES = ['Space', 'Enter'];

// Return the key of an event, or '' if it belongs to another: with a modifier, within an input method, or handled.
export function plainKey(event) {
  // A keyboard may need Shift for it.
  const shifted = event.shiftKey && event.key !== '?';
  const modified = event.ctrlKey || event.altKey || event.metaKey || shifted;
  // Some browsers fill in forms with events that have no key.
  return modified || event.isComposing || event.defaultPrevented ? '' : (event.key ?? '');
}

/*
 * Return whether an element may take a key itself. Only the page as a whole, and the film without controls of the browser,
 * take none: all else that has the focus was made to have it. The buttons of the player take the keys that press them.
 */
function takesKey(focused, name) {
  if (!focused || focused.isContentEditable) return Boolean(focused);
  if (focused.tagName === 'BUTTON' && focused.closest?.('.controls')) return PRESSES.includes(name);
  return !['BODY', 'HTML', 'VIDEO'].includes(focused.tagName) || Boolean(focused.controls);
}

/*
 * Return the page's command for a key press, one of KEYS, or '' for none.
 *
 * focused: document.activeElement. overlaid: whether a dialog or a menu is open. inParty: whether a party is on the screen.
 */
export function shortcut(event, { focused, overlaid, inParty }) {
  const key = plainKey(event);
  const name = NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  if (!inParty || overlaid || takesKey(focused, name)) return '';
  const found = KEYS.find(({ keys }) => keys.includes(name));
  return found && (found.repeats || !event.repeat) ? found.command : '';
}

// Return the seconds by which a key moves the position, or 0. Held keys repeat it: the room is told once, at the end.
export function seekSeconds(event) {
  return SEEK_SECONDS[plainKey(event)] ?? 0;
}

// Return whether a key press repeats a click or the sending of a form, because the key is held.
export function repeatsPress(event) {
  const types = event.target?.isContentEditable || event.target?.tagName === 'TEXTAREA';
  return event.repeat && event.key === 'Enter' && !types;
}

/*
 * Listen to the keys of a document. inParty(): see `shortcut`. isOn(): whether the person wants shortcuts. run: by the commands of
 * KEYS.
 */
export function listenToKeys(document, inParty, isOn, run) {
  document.addEventListener('keydown', (event) => {
    if (repeatsPress(event)) event.preventDefault();
    const command = shortcut(event, {
      focused: document.activeElement,
      overlaid: [...document.querySelectorAll(OVERLAYS)].some((box) => box.getClientRects().length),
      inParty: inParty() && isOn(),
    });
    if (!command) return;
    event.preventDefault();
    run[command]();
  });
}
