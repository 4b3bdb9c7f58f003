// Draws the diagrams of the website. Without a network they stay text.
import mermaid from 'https://cdn.jsdelivr.net/npm/mermaid@11/dist/mermaid.esm.min.mjs';

for (const code of document.querySelectorAll('pre.mermaid > code')) code.parentElement.textContent = code.textContent;
mermaid.initialize({ startOnLoad: false });
await mermaid.run({ querySelector: 'pre.mermaid' });
