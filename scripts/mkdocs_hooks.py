"""Hooks for mkdocs: show documents from outside of docs/ on the website, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OUTSIDE = {"contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGES.md", "kubernetes.md": "k8s/README.md"}
"""The name of each page on the website, and its file from the top level."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/, with links as documents in docs/ have them."""
    root = Path(config.config_file_path).parent
    for page, name in OUTSIDE.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\((?:\.\./)?docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links from docs/ to the files of `OUTSIDE` into links to their pages."""
    for name, path in OUTSIDE.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return markdown
