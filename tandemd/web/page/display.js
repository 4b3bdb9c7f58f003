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

// -- films of other sites

const ANSWER_WITHIN_MS = 10_000;

/*
 * Ask for the first byte of a film. Returns {status}, 0 if the site does not let this page see the status; null if the site
 * cannot be reached. Fallback for browsers that cannot end a request: the whole film is requested.
 */
export async function asked(address) {
  for (const mode of ['cors', 'no-cors']) {
    let abort = null;
    let limit = 0;
    try {
      abort = new AbortController();
      limit = setTimeout(() => abort.abort(), ANSWER_WITHIN_MS);
    } catch {
      // The answer may take any time.
    }
    try {
      const headers = mode === 'cors' ? { Range: 'bytes=0-0' } : {};
      const answer = await fetch(address, { mode, headers, cache: 'no-store', signal: abort?.signal });
      return { status: answer.status };
    } catch {
      // The site is out of reach, or does not allow the first mode.
    } finally {
      clearTimeout(limit);
      abort?.abort();
    }
  }
  return null;
}
