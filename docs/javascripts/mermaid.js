// Draws the diagrams of the website. `make site` puts mermaid.min.js beside it; without it the diagrams stay text.
if (window.mermaid) {
  for (const code of document.querySelectorAll('pre.mermaid > code')) code.parentElement.textContent = code.textContent;
  window.mermaid.initialize({ startOnLoad: false });
  window.mermaid.run({ querySelector: 'pre.mermaid' });
}
