// The optional abilities of browsers that only a party needs. Each may be missing, forbidden, or throw. See browser.js.

// -- full screen. Some browsers know it under another name, some for videos only, some not at all.

export function canFillScreen(video) {
  return Boolean(document.fullscreenEnabled || document.webkitFullscreenEnabled || video.webkitSupportsFullscreen);
}

// Show a box, or only its video, on the whole screen, or end that. Fallback: nothing happens.
export async function toggleFullScreen(box, video) {
  try {
    if (document.fullscreenElement ?? document.webkitFullscreenElement) {
      await (document.exitFullscreen ?? document.webkitExitFullscreen).call(document);
    } else if (box.requestFullscreen ?? box.webkitRequestFullscreen) {
      await (box.requestFullscreen ?? box.webkitRequestFullscreen).call(box);
    } else {
      video.webkitEnterFullscreen();
    }
  } catch {
    // The browser or the person has refused.
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
