// The optional abilities of browsers that only the page's looks need. Each may be missing, forbidden, or throw. See browser.js.

// Return the languages of the person, the best first. Fallback: none.
export function preferredLanguages() {
  try {
    return [...navigator.languages];
  } catch {
    return [];
  }
}

// -- picture in picture

export function canFloat(video) {
  return Boolean(document.pictureInPictureEnabled && video.requestPictureInPicture);
}

// Show the video in a window above all others, or end that. Fallback: nothing happens.
export async function toggleFloating(video) {
  try {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await video.requestPictureInPicture();
  } catch {
    // The browser or the person has refused, or the film is not loaded.
  }
}

// Whether this page fills the screen. Fallback: it does not.
export function isFullScreen() {
  return Boolean(document.fullscreenElement);
}

// -- dialogs. Fallback: a box over the page, which is not modal.

export function openDialog(dialog) {
  if (dialog.open) return;
  if (typeof dialog.showModal === 'function') {
    dialog.showModal();
    return;
  }
  dialog.hidden = false;
  dialog.setAttribute('open', '');
  dialog.querySelector('[autofocus]')?.focus();
}

export function closeDialog(dialog) {
  if (typeof dialog.showModal === 'function') {
    dialog.close();
    return;
  }
  dialog.removeAttribute('open');
  dialog.dispatchEvent(new Event('close'));
}
