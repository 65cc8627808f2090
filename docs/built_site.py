"""A hook of MkDocs: what the built pages load (style sheets, scripts, pictures) lies in the site.

MkDocs checks the links in the Markdown, not those that its theme writes. A warning ends the build.
"""

import html.parser
import logging
import pathlib
import urllib.parse
from typing import Any

log = logging.getLogger("mkdocs.hooks.built_site")


def on_post_build(config: dict[str, Any], **_: Any) -> None:
    site = pathlib.Path(config["site_dir"])
    for page in sorted(site.rglob("*.html")):
        for tag, address in loaded(page.read_text(encoding="utf-8")):
            parts = urllib.parse.urlsplit(address)
            if tag == "img" and parts.netloc:
                continue  # a badge, which a page can do without
            if parts.scheme or parts.netloc:
                log.warning("%s loads '%s' from another server", page.relative_to(site), address)
            elif not _file(site, page, parts.path).is_file():
                log.warning(
                    "%s loads '%s', which is not in the site", page.relative_to(site), address
                )


def loaded(page: str) -> list[tuple[str, str]]:
    """(tag, address) of what a browser loads with a page, each once.

    >>> loaded('<link rel="stylesheet" href="a.css"><script src="b.js"></script><a href="c">')
    [('link', 'a.css'), ('script', 'b.js')]
    """
    parser = _Loaded()
    parser.feed(page)
    return list(dict.fromkeys(parser.addresses))


class _Loaded(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get("href" if tag == "link" else "src")
        if address and values.get("rel") != "canonical":
            self.addresses.append((tag, address))


def _file(site: pathlib.Path, page: pathlib.Path, path: str) -> pathlib.Path:
    path = urllib.parse.unquote(path)
    return site / path.lstrip("/") if path.startswith("/") else page.parent / path
