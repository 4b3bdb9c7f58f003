// The page around a party: which screen is shown, the connection's state, the line at the bottom.

const SAYS = {
  offline: 'Not connected',
  connecting: 'Connecting…',
  joining: 'Joining…',
  waiting: 'Waiting to be let in…',
  connected: 'Connected',
  reconnecting: 'Reconnecting…',
  refused: 'Not connected',
  elsewhere: 'Open in another tab',
};

export const element = (id) => document.getElementById(id);

export function made(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A member's name. Its writing direction does not affect the text around it.
export const nameNode = (name, className = '') => made('bdi', className, name);

// Fill an element with texts and nodes. Setting what is set already would make screen readers say it again.
export function say(node, ...parts) {
  const text = parts.map((part) => part.textContent ?? part).join('');
  if (node.textContent !== text) node.replaceChildren(...parts);
}

export function showScreen(screen) {
  element('app').dataset.screen = screen;
  element('start').hidden = screen !== 'start';
  element('party').hidden = screen !== 'party';
}

export function showConnection(state) {
  element('app').dataset.state = state;
  say(element('connection-text'), SAYS[state]);
}

let noticeTimer = 0;

// A line at the bottom. action: {label, run}; with one, it stays until it is clicked or hidden, because it may be the only way
// on: other texts do not replace it.
export function showNotice(text, action = null) {
  if (!action && !element('notice-action').hidden) return;
  clearTimeout(noticeTimer);
  const button = element('notice-action');
  element('notice').dataset.shown = 'true';
  say(element('notice-text'), text);
  button.hidden = !action;
  button.textContent = action?.label ?? '';
  button.onclick = () => {
    hideNotice();
    action.run();
  };
  if (!action) noticeTimer = setTimeout(hideNotice, 6000);
}

export function hideNotice() {
  clearTimeout(noticeTimer);
  element('notice').dataset.shown = 'false';
  // Emptied, not taken away: screen readers only hear of changes in what is there.
  say(element('notice-text'), '');
  element('notice-action').hidden = true;
}
