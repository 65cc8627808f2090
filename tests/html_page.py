"""An HTML file as the tests of reports read it."""

import html.parser

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


class Page(html.parser.HTMLParser):
    """Elements with attributes and the text inside, and whether every tag was closed in order."""

    def __init__(self, path):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        element = {"tag": tag, "text": "", "parents": list(self._open), **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def find(self, tag, css="", inside=None):
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and css in (element.get("class") or "")
            and (inside is None or any(parent is inside for parent in element["parents"]))
        ]

    def dialogues(self):
        return self.find("details", "dialogue")
