"""Pages as a reader without JavaScript has them: text, tags, and tables line by line."""

from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br", "line", "circle"}


class Page(HTMLParser):
    """A page that was parsed.

    Its `text` is what is seen, `tags` its tags with attributes in order, `tables` lists of lines
    of cells; `open` is empty if every tag was closed.
    """

    def __init__(self, response):
        super().__init__()
        self.status = response.status_code
        self.text, self.tags, self.tables, self.open = "", [], [], []
        self.feed(response.text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        self.text += data
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += " ".join(data.split()) + " " * data.endswith(" ")

    def with_(self, tag, **attrs):
        """The tags with these attributes."""
        return [
            told
            for name, told in self.tags
            if name == tag and all(told.get(key.rstrip("_")) == v for key, v in attrs.items())
        ]

    @property
    def links(self):
        """Where it leads."""
        return [told.get("href", "") for told in self.with_("a")]
