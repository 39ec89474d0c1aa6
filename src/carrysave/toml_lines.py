"""Where each value of a TOML document stands: `tomllib` gives values without lines, error messages need both."""

from __future__ import annotations

import re
from bisect import bisect_right

Path = tuple[str | int, ...]

_KEY_PART = re.compile(r"""\s*(?:"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))\s*""")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_SCALAR = re.compile(r"[^,\]}\n#]+")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")


class _Scan:
    """Walks a document that `tomllib` has already accepted, so that it need not check anything itself."""

    def __init__(self, text: str):
        self.text = text
        self.at = 0
        self.starts = [0] + [m.end() for m in re.finditer("\n", text)]
        self.lines: dict[Path, int] = {(): 1}
        self.elements: dict[Path, int] = {}  # elements so far of each array of tables

    def space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def mark(self, path: Path) -> None:
        self.lines.setdefault(path, bisect_right(self.starts, self.at))

    def key(self) -> list[str]:
        parts = []
        while found := _KEY_PART.match(self.text, self.at):
            parts.append(next(part for part in found.groups() if part is not None))
            self.at = found.end()
            if self.text[self.at : self.at + 1] != ".":
                break
            self.at += 1
        return parts

    def absolute(self, parts: list[str]) -> Path:
        """`[recipes.rules]` after `[[recipes]]` speaks of the last recipe."""
        path: Path = ()
        for part in parts:
            path += (part,)
            if path in self.elements:
                path += (self.elements[path] - 1,)
        return path

    def header(self) -> Path:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        parts = self.key()
        end, self.at = self.at + (2 if array else 1), start
        if array:
            path = self.absolute(parts[:-1]) + (parts[-1],)
            self.mark(path)
            self.elements[path] = self.elements.get(path, 0) + 1
        path = self.absolute(parts)
        for depth in range(1, len(path) + 1):
            self.mark(path[:depth])
        self.at = end
        return path

    def pair(self, table: Path) -> None:
        self.space()
        start = self.at
        parts = self.key()
        after, self.at = self.at, start
        path = table
        for part in parts:
            path += (part,)
            self.mark(path)
        self.at = after + 1  # the equals sign
        self.value(path)

    def value(self, path: Path) -> None:
        self.space()
        self.mark(path)
        opening = self.text[self.at : self.at + 1]
        if opening in ('"', "'"):
            found = _STRING.match(self.text, self.at)
        elif opening in ("[", "{"):
            return self.inside(path, opening)
        else:
            found = _SCALAR.match(self.text, self.at)
        self.at = found.end() if found else len(self.text)

    def inside(self, path: Path, opening: str) -> None:
        closing = "]" if opening == "[" else "}"
        self.at += 1
        for index in range(len(self.text)):
            self.space()
            if self.text[self.at : self.at + 1] in (closing, ""):
                break
            if opening == "[":
                self.value(path + (index,))
            else:
                self.pair(path)
            self.space()
            if self.text[self.at : self.at + 1] == ",":
                self.at += 1
        self.at += 1

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.space()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.space()
        return self.lines


def toml_lines(text: str) -> dict[Path, int]:
    """Path of every key and array element of a valid TOML document -> its line, counted from 1.

    `("recipes", 0, "rules", 1, "multiplier")` is the key `multiplier` of the second rule of the first recipe;
    the empty path is line 1.
    """
    return _Scan(text).document()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest table or array around it (a missing key has no line of its own)."""
    while path not in lines:
        path = path[:-1]
    return lines[path]
