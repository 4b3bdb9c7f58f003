// The dialogs of the page, and how they close.

import { closeDialog, openDialog } from './overlays.js';
import { element, keepNotice } from './dom.js';

/*
 * Connect a dialog with the buttons that close it. opener: the id of the button to which the focus returns. opening(): called
 * before it opens.
 */
export function connectDialog(id, opener, opening = () => {}) {
  const dialog = element(id);
  const open = () => {
    opening();
    openDialog(dialog);
  };
  for (const button of dialog.querySelectorAll('.close')) button.onclick = () => closeDialog(dialog);
  // A click beside the box.
  dialog.addEventListener('click', (event) => {
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    const beside = event.clientX < left || event.clientX > right || event.clientY < top || event.clientY > bottom;
    // A key that presses a button clicks at 0, 0.
    if (event.target === dialog && beside) closeDialog(dialog);
  });
  dialog.addEventListener('keydown', (event) => event.key === 'Escape' && closeDialog(dialog));
  dialog.addEventListener('close', () => {
    keepNotice(dialog);
    // Without dialogs of its own, the browser does not return the focus.
    if (dialog.contains(document.activeElement)) element(opener).focus({ preventScroll: true });
  });
  return { open, close: () => closeDialog(dialog) };
}
