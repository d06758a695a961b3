"""The built pages stand by themselves: nothing from another host, nothing missing, all findable.

Reads every page under ``_build/html``; `make pages` and `make test` build it first.
Without a build these tests fail; set ``BOOK_TESTS=skip`` to say that there is none on purpose.
"""

import functools
import json
import os
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "_build" / "html"
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GENERATED = {"index", "search", "genindex", "py-modindex"}
NAVIGATION = {"canonical", "next", "prev", "up", "search", "index", "author", "license", "help"}
SOURCES = {"src", "srcset", "poster", "data", "background", "action", "formaction", "manifest"}
REMOTE = re.compile(r"(?:https?:)?//[\w.-]+\.\w+", re.IGNORECASE)
STYLE_URL = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)|@import\s+["']([^"']+)["']""")
LOADS = re.compile(  # what a script needs to fetch from another host by a literal address
    r"""(?:\bimport\s*\(?|\bfrom|\bfetch\(|importScripts\(|\bsrc\s*=|\.open\([^,()]*,)\s*["'`]"""
    r"""((?:https?:)?//[^"'`]+)"""
)


@dataclass
class Page(HTMLParser):
    """What one page loads, links to and shows."""

    text: str
    resources: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    scripts: list[str] = field(default_factory=list)
    language: str = ""
    downloads: list[str] = field(default_factory=list)
    inside: str = ""

    def __post_init__(self):
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self.inside = tag if tag in {"style", "script"} else ""
        if tag == "script" and "json" in values.get("type", ""):
            self.inside = ""
        if tag == "html":
            self.language = values.get("lang", "")
        if tag == "img":
            self.images.append(values)
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.classes.update(values.get("class", "").split())
        self.resources += style_urls(values.get("style", ""))
        for name in SOURCES & values.keys():
            parts = values[name].split(",") if name == "srcset" else [values[name]]
            self.resources += [part.split()[0] for part in parts if part.strip()]
        self.handle_reference(tag, values)

    def handle_reference(self, tag, values):
        target = values.get("href", values.get("xlink:href"))
        if target is None:
            return
        if tag == "a":
            self.links.append(target)
            if "download" in values or "btn-download-source-button" in values.get("class", ""):
                self.downloads.append(target)
        elif not (tag == "link" and NAVIGATION & set(values.get("rel", "").split())):
            self.resources.append(target)

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "style":
            self.resources += style_urls(data)
        elif self.inside == "script":
            self.scripts.append(data)


def style_urls(style: str) -> list[str]:
    return [first or second for first, second in STYLE_URL.findall(style)]


def is_remote(address: str) -> bool:
    return bool(urlsplit(address.strip()).netloc)


def from_other_hosts(page: Page) -> list[str]:
    inline = [match.group() for script in page.scripts for match in REMOTE.finditer(script)]
    return [address for address in page.resources if is_remote(address)] + inline


def without_text(page: Page) -> list[str]:
    """Return the images of `page` that say nothing: no alt, or the file's name for one."""
    bad = []
    for image in page.images:
        source, alt = image.get("src", ""), image.get("alt", "").strip()
        decorative = image.get("role") == "presentation" or image.get("aria-hidden") == "true"
        if not decorative and (not alt or alt == source or alt == Path(source).name):
            bad.append(source)
    return bad


def missing(page: Page, file: Path, parsed) -> list[str]:
    """Return what `page`, stored in `file`, loads or links to in the book and does not find."""
    lost = []
    for address in [*page.resources, *page.links]:
        parts = urlsplit(address.strip())
        if parts.scheme or parts.netloc:
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        anchor = unquote(urldefrag(address).fragment)
        found = target.is_file()
        if found and anchor and target.suffix == ".html":
            found = anchor in parsed(target).anchors
        if not found:
            lost.append(address)
    return lost


@functools.cache
def read(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def documents_of(contents) -> set[str]:
    """Return the documents and patterns that a table of contents names, at any depth."""
    if isinstance(contents, dict):
        named = {contents[key] for key in ("root", "file", "glob") if key in contents}
        return named.union(*(documents_of(value) for value in contents.values()))
    if isinstance(contents, list):
        return set().union(*(documents_of(value) for value in contents))
    return set()


def contents() -> set[str]:
    """Return the documents of the book, patterns resolved, without their suffixes."""
    named = documents_of(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    plain = {name.removesuffix(".md").removesuffix(".ipynb") for name in named if "*" not in name}
    found = [file for name in named if "*" in name for file in ROOT.glob(name)]
    return plain | {file.relative_to(ROOT).with_suffix("").as_posix() for file in found}


# ---- the built book ------------------------------------------------------------


@pytest.fixture
def pages():
    if os.environ.get("BOOK_TESTS") == "skip":
        pytest.skip("BOOK_TESTS=skip: no book was built, on purpose")
    files = [file for file in BUILT.rglob("*.html") if "_static" not in file.parts]
    if not files:
        pytest.fail(f"no built book in {BUILT}: run `make book` (or set BOOK_TESTS=skip)")
    return {file.relative_to(BUILT).with_suffix("").as_posix(): file for file in files}


def report(faults_by_page):
    faults = {name: found for name, found in faults_by_page.items() if found}
    assert not faults, "\n".join(f"{name}: {found}" for name, found in faults.items())


@pytest.mark.book
def test_pages_are_those_of_the_contents(pages):
    assert pages.keys() - GENERATED == contents()


@pytest.mark.book
def test_every_chapter_is_in_the_contents():
    assert {f"notebooks/{file.stem}" for file in CHAPTERS} <= contents()


@pytest.mark.book
def test_no_page_loads_from_another_host(pages):
    report({name: from_other_hosts(read(file)) for name, file in pages.items()})


@pytest.mark.book
def test_no_style_or_script_loads_from_another_host(pages):
    styles = {file: style_urls(file.read_text("utf-8")) for file in BUILT.rglob("*.css")}
    report({file.name: [url for url in urls if is_remote(url)] for file, urls in styles.items()})
    used = {
        (file.parent / urlsplit(address).path).resolve()
        for file in pages.values()
        for address in read(file).resources
        if urlsplit(address).path.endswith(".js")
    }
    assert used
    report({file.name: LOADS.findall(file.read_text("utf-8")) for file in used if file.is_file()})


@pytest.mark.book
def test_nothing_that_a_page_loads_or_links_to_is_missing(pages):
    report({name: missing(read(file), file, read) for name, file in pages.items()})


@pytest.mark.book
def test_every_image_says_what_it_shows(pages):
    report({name: without_text(read(file)) for name, file in pages.items()})


@pytest.mark.book
def test_mathjax_is_served_by_the_book(pages):
    loaded = [address for file in pages.values() for address in read(file).resources]
    assert any("mathjax/tex-mml-chtml.js" in address for address in loaded)
    assert list((BUILT / "_static/mathjax/output/chtml/fonts/woff-v2").glob("*.woff"))


@pytest.mark.book
def test_search_knows_a_term(pages):
    index = (BUILT / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)\s*", index, re.DOTALL)[1])
    assert "ridg" in found["terms"]  # the stem of "ridge"
    assert set(found["docnames"]) == contents()
    assert any("search-button-field" in script for script in read(pages["book/intro"]).scripts)


@pytest.mark.book
def test_every_page_has_dark_and_light_and_a_language(pages):
    for name in contents():
        page = read(pages[name])
        assert any("theme-switch-button" in script for script in page.scripts), name
        assert page.language == "en", name


@pytest.mark.book
def test_every_notebook_can_be_downloaded(pages):
    assert CHAPTERS
    for chapter in CHAPTERS:
        page = pages[f"notebooks/{chapter.stem}"]
        offered = [(page.parent / target).resolve() for target in read(page).downloads]
        copies = [file for file in offered if file.name == chapter.name]
        assert copies, f"{chapter.stem}: no download button for the notebook"
        assert copies[0].read_bytes() == chapter.read_bytes()


# ---- the checks bite ------------------------------------------------------------


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<script src="//cdn.example.org/a.js"></script>',
        '<script>const url = "https://cdn.example.org/a.js"</script>',
        '<link rel="stylesheet" href="https://cdn.example.org/a.css">',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<img alt="x" src="http://cdn.example.org/a.png">',
        '<img alt="x" src="a.png" srcset="a.png 1x, https://cdn.example.org/b.png 2x">',
        '<iframe src="https://cdn.example.org/a"></iframe>',
        '<svg><use href="https://cdn.example.org/a.svg#b"/></svg>',
        '<style>@import "https://cdn.example.org/a.css";</style>',
        "<style>p { background: url('https://cdn.example.org/a.png') }</style>",
        '<p style="background: url(//cdn.example.org/a.png)">x</p>',
    ],
)
def test_a_resource_from_another_host_is_found(html):
    assert from_other_hosts(Page(html))


def test_a_plain_link_to_another_host_is_allowed():
    page = Page(
        '<a href="https://example.org/paper">x</a><script type="application/json">"http://x.y"</script>'
    )
    assert from_other_hosts(page) == []
    assert page.links == ["https://example.org/paper"]


@pytest.mark.parametrize(
    "image", ['<img src="a.png">', '<img src="a.png" alt=" ">', '<img src="b/a.png" alt="a.png">']
)
def test_an_image_without_text_is_found(image):
    assert without_text(Page(image))
    assert not without_text(Page('<img src="a.png" alt="A roofline.">'))


@pytest.mark.parametrize(
    "html",
    [
        '<img alt="x" src="gone.png">',
        '<a href="gone.html">x</a>',
        '<a href="#gone">x</a>',
        '<a href="other.html#gone">x</a>',
    ],
)
def test_a_missing_file_or_anchor_is_found(tmp_path, html):
    (tmp_path / "other.html").write_text('<p id="here">x</p>')
    (tmp_path / "page.html").write_text(html)
    file = tmp_path / "page.html"
    assert missing(read(file), file, read)
    good = Page('<a href="other.html#here">x</a><a href="mailto:a@b.c">x</a>')
    assert missing(good, file, read) == []


@pytest.mark.parametrize(
    "script",
    [
        "import('https://cdn.example.org/a.js')",
        's.src="//x.org/a.js"',
        'fetch("https://x.org/a")',
        'r.open("GET","https://x.org/a")',
    ],
)
def test_a_script_that_loads_from_another_host_is_found(script):
    assert LOADS.findall(script)
    assert not LOADS.findall('svg.ns = "http://www.w3.org/2000/svg"; import("./a.js")')
