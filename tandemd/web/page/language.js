// The texts of the page, in the first language of the browser that has a file in texts/, else in English. Only that file is
// loaded.

const AGAIN_AFTER_MS = 1000;

let texts = {};
let forms = new Intl.PluralRules('en');

// Load the texts for a list of language tags, in order of preference.
export async function chooseLanguage(tags) {
  for (const tag of tags) {
    const language = /^[a-z]{2,3}(?=-|$)/i.exec(tag)?.[0].toLowerCase();
    // Without a file, the page has no texts in this language.
    if (language && (await load(language))) return;
  }
  // Nothing can be said without texts: the server restarts.
  while (!(await load('en'))) await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
}

// Return whether there are texts in a language.
async function load(language) {
  try {
    texts = (await import(`./texts/${language}.js`)).default;
  } catch {
    return false;
  }
  forms = new Intl.PluralRules(language);
  document.documentElement.lang = language;
  return true;
}

// Return a text. values: by the names in its braces; n: a number, which selects one of the forms of the text.
export function t(key, values = {}) {
  const text = texts[key] ?? texts[`${key}.${forms.select(values.n)}`] ?? texts[`${key}.other`] ?? key;
  return text.replace(/\{(\w+)\}/g, (braces, name) => values[name] ?? braces);
}

// Whether the key of a text exists.
export function hasText(key) {
  return key in texts;
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
