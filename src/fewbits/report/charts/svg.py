"""matplotlib's SVG made fit for a page: named, coloured by CSS variables, with tooltips, and a third of its size."""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from xml.etree import ElementTree

_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"font: (?P<weight>(?:bold |\d+ )?)(?P<size>[\d.]+px) [^;]*")
_FAMILY = re.compile(r";? ?font-family: [^;]*")
_LONG = re.compile(r"(\d+\.\d\d?)\d+")
HALO = "halo"  # begins the id of a text whose letters get an edge
_DEFAULTS = ("; stroke-linecap: square", "; text-anchor: start", "; stroke-linejoin: miter")
_SHORTENED = ("d", "x", "y", "transform", "points", "width", "height")


def cleaned(text: str, *, title: str, tips: Mapping[str, str], colours: Mapping[str, str]) -> str:
    """The `<svg>` element for a page.

    `tips` are by the id of a group; `colours` give the CSS variable of each colour. Ids get a prefix made of all that is drawn, so that
    many charts stand on one page.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)  # what matplotlib has just written, nothing from outside
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    _tips(root, tips)
    prefix = "c" + sha256(text.encode()).hexdigest()[:6]
    _names(root, prefix)
    for element in root.iter():
        _shorten(element, colours)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    return _flat(ElementTree.tostring(root, encoding="unicode"))


def _tips(root: ElementTree.Element, tips: Mapping[str, str]) -> None:
    for group in _groups(root):
        if group.get("id", "").startswith(HALO):
            group.set("class", "halo")
        tip = tips.get(group.get("id", ""))
        if tip:
            group.set("class", "tip")
            told = ElementTree.Element(f"{{{_SVG}}}title")
            told.text = tip
            group.insert(0, told)


def _groups(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return root.iter(f"{{{_SVG}}}g")


def _names(root: ElementTree.Element, prefix: str) -> None:
    """Keep the ids that something refers to, each with the prefix; drop the rest."""
    used = set()
    for element in root.iter():
        link, clip = element.attrib.pop(_LINK, None), element.get("clip-path")
        if link:
            used.add(link[1:])
            element.set("href", f"#{prefix}{link[1:]}")
        if clip:
            used.add(clip[5:-1])
            element.set("clip-path", f"url(#{prefix}{clip[5:-1]})")
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", prefix + str(name))


def _shorten(element: ElementTree.Element, colours: Mapping[str, str]) -> None:
    """Two digits after the point, fonts left to the page, colours by their variables."""
    for name in _SHORTENED:
        if name in element.attrib:
            element.set(name, _LONG.sub(r"\1", " ".join(element.attrib[name].split())))
    style = element.get("style")
    if style is None:
        return
    style = _FAMILY.sub("", _FONT.sub(_plain_font, style))
    for default in _DEFAULTS:
        style = style.replace(default, "")
    for colour, variable in colours.items():
        style = style.replace(colour, f"var(--{variable})")
    element.set("style", _LONG.sub(r"\1", style.strip("; ")))


def _plain_font(match: "re.Match[str]") -> str:
    weight = match["weight"].strip()
    return f"font-size: {match['size']}" + (f"; font-weight: {weight}" if weight else "")


def _flat(text: str) -> str:
    return re.sub(r">\s+<", "><", text)
