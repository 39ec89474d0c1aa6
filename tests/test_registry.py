"""Spec strings, with a registry of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from carrysave.registry import Registry, SpecError

SHAPES = Registry("shape")


@SHAPES.register
@dataclass(frozen=True, kw_only=True)
class Circle:
    radius: int
    colour: Literal["red", "green"] = "red"
    filled: bool = False
    width: float = 1.5
    copies: int | None = None
    name: ClassVar[str] = "circle"
    catalog: ClassVar[dict[str, str]] = {"Unit": "circle:radius=1"}

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError(f"circle: radius={self.radius} is negative")


@SHAPES.register
@dataclass(frozen=True, kw_only=True)
class Drawing:
    file: str
    scale: int = 1
    name: ClassVar[str] = "drawing"
    positional: ClassVar[str] = "file"


@pytest.mark.parametrize(
    ("spec", "expected", "canonical"),
    [
        ("circle:radius=3", Circle(radius=3), "circle:radius=3"),
        (" circle:radius=3, colour=green ", Circle(radius=3, colour="green"), "circle:radius=3,colour=green"),
        ("circle:filled=TRUE,radius=3", Circle(radius=3, filled=True), "circle:radius=3,filled=true"),
        ("circle:radius=3,colour=red,width=1.5", Circle(radius=3), "circle:radius=3"),
        ("circle:radius=3,copies=2", Circle(radius=3, copies=2), "circle:radius=3,copies=2"),
        ("drawing:a/b.svg", Drawing(file="a/b.svg"), "drawing:a/b.svg"),
        ("drawing:scale=2,b.svg", Drawing(file="b.svg", scale=2), "drawing:b.svg,scale=2"),
        ("drawing:file=b.svg", Drawing(file="b.svg"), "drawing:b.svg"),
    ],
)
def test_parse_and_spec(spec: str, expected: object, canonical: str) -> None:
    parsed = SHAPES.parse(spec)
    assert parsed == expected
    assert SHAPES.spec(parsed) == canonical and SHAPES.parse(canonical) == expected


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("circel:radius=3", r"unknown shape 'circel' \(did you mean 'circle'\?\); known: circle, drawing"),
        ("xyzzy", "unknown shape 'xyzzy'; known"),
        ("circle:radios=3", r"no parameter 'radios' \(did you mean 'radius'\?\); it has: radius, colour"),
        ("circle:radius=x", "radius is of type int, not 'x'"),
        ("circle:radius=3,radius=4", "radius is given twice"),
        ("circle:3", "expected key=value, got '3'"),
        ("circle", "radius must be given, such as circle:radius=1"),
        ("circle:radius=3,colour=grean", r"colour=grean \(did you mean 'green'\?\); one of red, green"),
        ("circle:radius=3,filled=yes", "filled is true or false, not 'yes'"),
        ("circle:radius=-1", "^circle: radius=-1 is negative"),
        ("CIRCLE:radius=3", r"unknown shape 'CIRCLE' \(did you mean 'circle'\?\)"),
        ("drawing", "file must be given"),
        ("drawing:a,b", "expected key=value, got 'b'"),
    ],
)
def test_errors_say_what_is_wrong(spec: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        SHAPES.parse(spec)


def test_objects_pass_through_and_others_do_not() -> None:
    circle = Circle(radius=1)
    assert SHAPES.parse(circle) is circle
    with pytest.raises(SpecError, match="named by a spec string such as 'name:key=value', not by 3"):
        SHAPES.parse(3)


def test_one_name_for_one_class() -> None:
    @dataclass(frozen=True)
    class Other:
        name: ClassVar[str] = "circle"

    with pytest.raises(SpecError, match="two shapes are called 'circle'"):
        SHAPES.register(Other)
    assert SHAPES.names() == ["circle", "drawing"] and SHAPES.get("circle") is Circle


def test_unregister() -> None:
    registry = Registry("thing")
    registry.register(Circle)
    registry.unregister("circle")
    assert registry.names() == []
