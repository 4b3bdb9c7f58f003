// The keys of the page: which key press is a shortcut, and when.

const SEEK_SECONDS = { ArrowLeft: -10, ArrowDown: -10, ArrowRight: 10, ArrowUp: 10, PageDown: -60, PageUp: 60 };
const OVERLAYS = 'dialog[open], [role="dialog"], [role="menu"]';

// Return the key of an event, or '' if it belongs to another: with a modifier, within an input method, or handled.
export function plainKey(event) {
  const modified = event.ctrlKey || event.altKey || event.metaKey || event.shiftKey;
  // Some browsers fill in forms with events that have no key.
  return modified || event.isComposing || event.defaultPrevented ? '' : (event.key ?? '');
}

/*
 * Return whether an element may take keys itself. Only the page as a whole, and the film without controls of the browser,
 * take none: all else that has the focus was made to have it.
 */
function takesKeys(focused) {
  if (!focused || focused.isContentEditable) return Boolean(focused);
  return !['BODY', 'HTML', 'VIDEO'].includes(focused.tagName) || Boolean(focused.controls);
}

/*
 * Return the page's command for a key press, 'toggle' for play or pause, or '' for none.
 * focused: the element with the focus, or null. overlaid: whether a dialog or a menu is open. inParty: whether the party
 * is on the screen.
 */
export function shortcut(event, { focused, overlaid, inParty }) {
  if (!inParty || overlaid || event.repeat || takesKeys(focused)) return '';
  return [' ', 'k'].includes(plainKey(event).toLowerCase()) ? 'toggle' : '';
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
 * Listen to the keys of a document. inParty(): see `shortcut`. run: {toggle}, the page's commands.
 */
export function listenToKeys(document, inParty, run) {
  document.addEventListener('keydown', (event) => {
    if (repeatsPress(event)) event.preventDefault();
    const command = shortcut(event, {
      focused: document.activeElement,
      overlaid: [...document.querySelectorAll(OVERLAYS)].some((box) => box.getClientRects().length),
      inParty: inParty(),
    });
    if (!command) return;
    event.preventDefault();
    run[command]();
  });
}
