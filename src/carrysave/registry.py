"""Spec strings: "drum:k=6" <-> an object. A wrong name or parameter answers with the nearest right one."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


class SpecError(ValueError):
    """A spec string that names nothing, or gives a parameter that cannot be."""


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """ " (did you mean 'drum'?)", or "" where nothing is near; upper and lower case are alike near."""
    written = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), written, n=1, cutoff=0.5)
    return f" (did you mean {written[close[0]]!r}?)" if close else ""


class Registry:
    """Frozen dataclasses by their ClassVar `name`; a ClassVar `positional` names the field of a bare argument."""

    def __init__(self, kind: str):
        self.kind = kind
        self._classes: dict[str, type] = {}

    def register(self, cls: T) -> T:
        """Class decorator: enter a frozen dataclass under its `name`."""
        name = cls.name  # type: ignore[attr-defined]
        known = self._classes.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise SpecError(f"two {self.kind}s are called {name!r}: {known.__module__} and {cls.__module__}")
        self._classes[name] = cls
        return cls

    def unregister(self, name: str) -> None:
        """Forget a name: for code that registers for a while, such as a test."""
        self._classes.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._classes)

    def get(self, name: str) -> type:
        """The class called `name`. Raises SpecError with the nearest name."""
        if name not in self._classes:
            raise SpecError(
                f"unknown {self.kind} {name!r}{nearest(name, self._classes)}; known: {', '.join(self.names())}"
            )
        return self._classes[name]

    def parse(self, spec: Any) -> Any:
        """The object that `spec` describes: "name", "name:key=value,key=value" or "name:argument".

        An object of a registered class is returned as it is.

        Raises:
            SpecError: for an unknown name or parameter, a value of the wrong type, or one the class rejects.
        """
        if not isinstance(spec, str):
            if type(spec) in self._classes.values():
                return spec
            raise SpecError(f"a {self.kind} is named by a spec string such as 'name:key=value', not by {spec!r}")
        name, _, arguments = spec.strip().partition(":")
        cls = self.get(name)
        try:
            return cls(**self._arguments(cls, spec, arguments))
        except SpecError:
            raise
        except (ValueError, TypeError, OSError) as error:
            named = str(error).startswith(f"{name}: ")
            raise SpecError(str(error) if named else f"{self.kind} {spec!r}: {error}") from error

    def _arguments(self, cls: type, spec: str, text: str) -> dict[str, Any]:
        hints = typing.get_type_hints(cls)
        fields = {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}
        positional = getattr(cls, "positional", None)
        found: dict[str, Any] = {}
        for part in filter(None, (p.strip() for p in text.split(","))):
            key, equals, value = part.partition("=")
            if not equals:
                if positional is None or positional in found:
                    raise SpecError(f"{self.kind} {spec!r}: expected key=value, got {part!r}")
                key, value = positional, part
            if key not in fields:
                known = ", ".join(fields) or "none"
                raise SpecError(f"{self.kind} {spec!r}: no parameter {key!r}{nearest(key, fields)}; it has: {known}")
            if key in found:
                raise SpecError(f"{self.kind} {spec!r}: {key} is given twice")
            found[key] = _convert(self.kind, spec, key, value, fields[key])
        needed = [f.name for f in dataclasses.fields(cls) if f.init and _has_no_default(f) and f.name not in found]
        if needed:
            example = next(iter(getattr(cls, "catalog", {}).values()), "")
            hint = f", such as {example}" if example else ""
            raise SpecError(f"{self.kind} {spec!r}: {', '.join(needed)} must be given{hint}")
        return found

    def spec(self, obj: Any) -> str:
        """The canonical spec string of `obj`: parameters that have their default value are left out."""
        positional = getattr(type(obj), "positional", None)
        parts = []
        for field in dataclasses.fields(obj):
            if not field.init:
                continue
            value = getattr(obj, field.name)
            if field.name == positional:
                parts.insert(0, str(value))
            elif value != field.default:
                parts.append(f"{field.name}={str(value).lower() if isinstance(value, bool) else value}")
        return type(obj).name + (":" + ",".join(parts) if parts else "")


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(kind: str, spec: str, key: str, value: str, hint: Any) -> Any:
    options = typing.get_args(hint)
    if type(None) in options:
        hint = next(option for option in options if option is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            names = typing.get_args(hint)
            raise SpecError(f"{kind} {spec!r}: {key}={value}{nearest(value, names)}; one of {', '.join(names)}")
        return value
    if hint is bool:
        if value.lower() not in ("true", "false"):
            raise SpecError(f"{kind} {spec!r}: {key} is true or false, not {value!r}")
        return value.lower() == "true"
    try:
        return hint(value)
    except ValueError:
        raise SpecError(f"{kind} {spec!r}: {key} is of type {hint.__name__}, not {value!r}") from None
