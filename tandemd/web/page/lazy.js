// What the page loads when it needs it: modules, and styles. The server may restart just then.

import { element, made, showNotice } from './dom.js';
import { t } from './language.js';
import { serverUrl } from './server-url.js';

/*
 * Load a module and call use(module), and the style sheets that belong to it before. importing(): imports the module.
 * Where it cannot be loaded, the page says so, with a button to try again.
 */
export function whenLoaded(importing, use, styles = []) {
  const again = { label: t('start.again'), run: () => whenLoaded(importing, use, styles) };
  return Promise.all([importing(), ...styles.map(loadStyle)]).then(
    ([module]) => use(module),
    () => showNotice(t('part.missing'), again),
  );
}

// Load a style sheet of the page, once. The promise is rejected if it does not come.
export function loadStyle(name) {
  const href = serverUrl(`page/${name}`);
  const present = [...document.querySelectorAll('link[rel="stylesheet"]')].find((link) => link.href === href);
  if (present?.sheet) return Promise.resolve();
  const link = present ?? made('link');
  const loaded = new Promise((resolve, reject) => {
    link.addEventListener('load', resolve);
    link.addEventListener('error', () => {
      link.remove();
      reject(new Error(href));
    });
  });
  if (!present) {
    Object.assign(link, { rel: 'stylesheet', href });
    document.head.append(link);
  }
  return loaded;
}

/*
 * Have a button build a part of the page at its first click. importing(): imports its module. build(module): returns the
 * part, whose open() is called at each click, the first one included.
 */
export function onFirstClick(id, importing, build) {
  let part = null;
  element(id).onclick = () => {
    if (part) {
      part.open();
      return;
    }
    whenLoaded(importing, (module) => {
      // Further clicks may have come meanwhile.
      part ??= build(module);
      part.open();
    });
  };
  return { changed: () => part?.changed?.() };
}
