// The texts of the page, in the first language of the browser that has a file in texts/, else in English.

import english from './texts/en.js';

let texts = english;
let forms = new Intl.PluralRules('en');

// Load the texts for a list of language tags, in order of preference.
export async function chooseLanguage(tags) {
  for (const tag of tags) {
    const language = /^[a-z]{2,3}(?=-|$)/i.exec(tag)?.[0].toLowerCase();
    if (!language) continue;
    if (language === 'en') return;
    try {
      texts = (await import(`./texts/${language}.js`)).default;
      forms = new Intl.PluralRules(language);
      document.documentElement.lang = language;
      return;
    } catch {
      // The page has no texts in this language.
    }
  }
}

// Return a text. values: by the names in its braces; n: a number, which selects one of the forms of the text.
export function t(key, values = {}) {
  const find = (name) => texts[name] ?? english[name];
  const text = find(key) ?? find(`${key}.${forms.select(values.n)}`) ?? find(`${key}.other`) ?? key;
  return text.replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

// Whether the key of a text exists.
export function hasText(key) {
  return key in english;
}

// Put the texts into the elements that name their keys: data-t for the content, data-t-label and data-t-placeholder for
// these attributes.
export function translatePage() {
  document.title = t('title');
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of document.querySelectorAll('[data-t-label]')) {
    node.setAttribute('aria-label', t(node.dataset.tLabel));
    if (node.tagName === 'BUTTON') node.title = t(node.dataset.tLabel);
  }
}
