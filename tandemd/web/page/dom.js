// The page around a party: which screen is shown, the connection's state, the line at the bottom.

import { t } from './language.js';

export const element = (id) => document.getElementById(id);

export function made(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Return a button that sends no form.
export function madeButton(className, text) {
  const button = made('button', className, text);
  button.type = 'button';
  return button;
}

// A member's name. Its writing direction does not affect the text around it.
export function nameNode(name, className = '') {
  const node = made('bdi', className, name);
  node.dir = 'auto';
  return node;
}

// Fill an element with texts and nodes. Setting what is set already would make screen readers say it again.
export function say(node, ...parts) {
  const text = parts.map((part) => part.textContent ?? part).join('');
  if (node.textContent !== text) node.replaceChildren(...parts);
}

// Name an icon button, for screen readers and as its tooltip.
export function label(button, text) {
  if (button.title === text) return;
  button.setAttribute('aria-label', text);
  button.title = text;
}

export function showScreen(screen) {
  element('app').dataset.screen = screen;
  element('start').hidden = screen !== 'start';
  element('party').hidden = screen !== 'party';
}

export function showConnection(state) {
  element('app').dataset.state = state;
  say(element('connection-text'), t(`connection.${state}`));
  const lost = ['connecting', 'reconnecting', 'joining', 'waiting'].includes(state);
  element('banner').hidden = !lost || element('party').hidden;
  say(element('banner-text'), element('banner').hidden ? '' : t('connection.lost'));
}

let noticeTimer = 0;

// A line at the bottom. action: {label, run}; with one, it stays until it is clicked or hidden, because it may be the only way
// on: other texts do not replace it.
export function showNotice(text, action = null) {
  if (!action && !element('notice-action').hidden) return;
  clearTimeout(noticeTimer);
  const [notice, button] = [element('notice'), element('notice-action')];
  // Outside of an open dialog it could be neither seen nor clicked.
  const home = [...document.querySelectorAll('dialog[open]')].at(-1) ?? element('app');
  if (notice.parentNode !== home) home.append(notice);
  notice.dataset.shown = 'true';
  say(element('notice-text'), text);
  button.hidden = !action;
  button.textContent = action?.label ?? '';
  button.onclick = () => {
    hideNotice();
    action.run();
  };
  if (!action) noticeTimer = setTimeout(hideNotice, 6000);
}

// The dialog with the notice closes.
export function keepNotice(dialog) {
  if (dialog.contains(element('notice'))) element('app').append(element('notice'));
}

export function hideNotice() {
  clearTimeout(noticeTimer);
  element('notice').dataset.shown = 'false';
  // Emptied, not taken away: screen readers only hear of changes in what is there.
  say(element('notice-text'), '');
  element('notice-action').hidden = true;
}
