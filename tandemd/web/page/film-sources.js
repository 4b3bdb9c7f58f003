// Where films come from: web addresses, the server, or files of this computer; and what is known against them.

import { endingOf, obstacle } from './film-obstacles.js';
import { t } from './language.js';
import { serverUrl } from './server-url.js';
import { isolated, shownAddress, webAddress } from './text.js';
import { parsedTitle } from './titles.js';

const CLIP_FILE = serverUrl('page/clip.mp4');

// The address of a film of the server, or of its subtitles. path: below its directory, with slashes.
export const videoAddress = (path) => serverUrl(`videos/${path.split('/').map(encodeURIComponent).join('/')}`);

// Connect a button with its input for a file of this computer. chosen(file).
export function onFile(button, input, chosen) {
  button.onclick = () => input.click();
  input.onchange = () => {
    const [file] = input.files;
    if (file) chosen(file);
    // So that the same file can be chosen again.
    input.value = '';
  };
}

/*
 * Listen for files and links that are dropped on the page. target(): returns {file(file), link(address)}; the one of them is
 * called with what was dropped first.
 */
export function onDrop(target) {
  const kinds = ['files', 'text/uri-list'];
  const wanted = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => kinds.includes(type.toLowerCase()));
  document.addEventListener('dragover', (event) => wanted(event) && event.preventDefault());
  document.addEventListener('drop', (event) => {
    // Text fields take links by themselves.
    if (!wanted(event) || event.target.closest?.('input, textarea')) return;
    event.preventDefault();
    const [dropped] = event.dataTransfer.files;
    if (dropped) target().file(dropped);
    else target().link(event.dataTransfer.getData('text/uri-list').split('\n').find((line) => line && !line.startsWith('#'))?.trim() ?? '');
  });
}

export class FilmSources {
  // The server's allow-list of titles, null while it is unknown.
  entries = null;
  #video;
  #files = null;

  constructor(video) {
    this.#video = video;
  }

  // Ask the server for its allow-list.
  async configure() {
    try {
      const answer = await fetch(serverUrl('api/config'));
      const { titles } = await answer.json();
      if (Array.isArray(titles) && titles.every((entry) => typeof entry === 'string')) this.entries = titles;
    } catch {
      // It stays unknown: the server decides when the film is chosen.
    }
  }

  // The LocalFiles of this page, null before a file of this computer was opened.
  get files() {
    return this.#files;
  }

  // Return the LocalFiles of this page. The promise is rejected if the module cannot be loaded.
  async openFiles() {
    const { LocalFiles } = await import('./local-file.js');
    this.#files ??= new LocalFiles();
    return this.#files;
  }

  // Return the address from which the player loads a title, null for none.
  addressFor(url) {
    const title = parsedTitle(url);
    switch (title.kind) {
      case 'clip':
        return CLIP_FILE;
      case 'video':
        return videoAddress(title.path);
      case 'file':
        return this.#files?.addressFor(url) ?? null;
      case 'web':
        return webAddress(url);
    }
    return null;
  }

  // Return why the server or the browser will not play a title, as a sentence; '' if nothing is known against it.
  refusal(url) {
    const found = obstacle(url, this.entries, this.#video);
    return found ? this.reason(found, url) : '';
  }

  // Return the sentence for a reason as of `obstacle` or `diagnosis`.
  reason(reason, url) {
    const site = shownAddress(url).split('/')[0];
    const ending = endingOf(parsedTitle(url).name || url);
    return t(`films.${reason}`, { site: isolated(site), ending: ending ? ` (.${ending})` : '' });
  }

  // Return what went wrong when a file was opened, as a sentence.
  fileProblem(error, file) {
    // A MediaError is the browser's word about the file; all else is the module that did not come.
    return error instanceof MediaError ? t('films.badFile', { name: isolated(file.name) }) : t('part.missing');
  }
}
