"""Components named in YAML: ``_target_`` is the dotted name of a class or function, the other keys its arguments.

A node is checked against the signature of its target before anything is built: unknown and missing arguments and wrong
types are errors that name the key.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from al_lightning.config.errors import ConfigError, unknown

TARGET = "_target_"


def is_component(node: Any) -> bool:
    """Whether a node names a component."""
    return isinstance(node, Mapping) and TARGET in node


def locate(name: Any, key: str) -> Callable[..., Any]:
    """The class or function of a dotted name.

    Raises:
        ConfigError: there is no such module or name; the nearest name of the module is given.
    """
    module_name, _, attribute = str(name).rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{key}.{TARGET}: cannot import module '{module_name}' of '{name}': {error}") from error
    if not hasattr(module, attribute):
        public = getattr(module, "__all__", None) or [entry for entry in vars(module) if not entry.startswith("_")]
        raise unknown(f"component of {module_name} in {key}.{TARGET}", attribute, public)
    target = getattr(module, attribute)
    if not callable(target):
        raise ConfigError(f"{key}.{TARGET}: '{name}' is neither a class nor a function")
    return target  # type: ignore[no-any-return]


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Arguments of a target that can be set by name."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in inspect.signature(target).parameters.items() if p.kind not in positional}


def argument_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Resolved types of a target's arguments."""
    return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)


def conforms(value: Any, annotation: Any) -> bool:
    """Whether a plain YAML value fits a type; types that YAML cannot hold are left to the component itself."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(conforms(value, option) for option in arguments)
    if is_component(value):
        return builds(locate(value[TARGET], "component"), annotation)
    if origin is typing.Literal:
        return value in arguments
    if annotation is type(None) or value is None:
        return annotation is type(None) and value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    kind = origin or annotation
    if not inspect.isclass(kind):
        return True
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not arguments or all(conforms(entry, arguments[1]) for entry in value.values())
        )
    if issubclass(kind, tuple) and arguments and arguments[-1] is not Ellipsis:
        return (
            isinstance(value, (list, tuple)) and len(value) == len(arguments) and all(map(conforms, value, arguments))
        )
    if issubclass(kind, Iterable) and arguments:
        return isinstance(value, (list, tuple)) and all(conforms(entry, arguments[0]) for entry in value)
    return False  # a plain value where an object is wanted


def builds(target: Callable[..., Any], annotation: Any) -> bool:
    """Whether a class is, or a function returns, what an annotation asks for; in doubt, yes.

    Of a Protocol, the methods and their numbers of arguments are compared.
    """
    wanted = typing.get_origin(annotation) or annotation
    result = target if inspect.isclass(target) else argument_types(target).get("return", Any)
    made = typing.get_origin(result) or result
    if Any in (wanted, made) or not inspect.isclass(wanted) or not inspect.isclass(made):
        return True
    if not getattr(wanted, "_is_protocol", False):
        return issubclass(made, wanted)
    methods = {name: member for name, member in vars(wanted).items() if inspect.isfunction(member)}
    return all(
        len(inspect.signature(getattr(made, name)).parameters) == len(inspect.signature(member).parameters)
        if hasattr(made, name)
        else False
        for name, member in methods.items()
        if name == "__call__" or not name.startswith("_")
    )


def _type_name(annotation: Any) -> str:
    if inspect.isclass(annotation) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def check_component(node: Any, key: str, provided: Iterable[str] = (), kind: Any = Any) -> None:
    """Check a node and all components inside it, without building anything.

    Args:
        node: resolved plain container.
        key: dotted name of the node, for messages.
        provided: arguments that code will add.
        kind: type that the component must be.

    Raises:
        ConfigError: an unknown or missing argument, a wrong type, a target that does not exist or is of another kind.
    """
    if not is_component(node):
        raise ConfigError(f"'{key}' needs a component: a node with {TARGET} and arguments")
    target = locate(node[TARGET], key)
    if not builds(target, kind):
        raise ConfigError(f"'{key}' must be of the kind {_type_name(kind)}; {node[TARGET]} is not")
    known, hints, provided = parameters(target), argument_types(target), set(provided)
    for name, value in node.items():
        if name == TARGET:
            continue
        if name not in known or name in provided:
            raise unknown("key", f"{key}.{name}", set(known) - provided)
        if value == "???":
            raise ConfigError(f"'{key}.{name}' is required: set it on the command line, {key}.{name}=...")
        hint = hints.get(name, Any)
        if not conforms(value, hint):
            raise ConfigError(f"'{key}.{name}' must be {_type_name(hint)}, got {value!r}")
        _check_inside(value, f"{key}.{name}")
    required = {name for name, p in known.items() if p.default is inspect.Parameter.empty}
    missing = required - set(node) - provided
    if missing:
        raise ConfigError(f"'{key}' ({node[TARGET]}) lacks {', '.join(sorted(missing))}")


def _check_inside(value: Any, key: str) -> None:
    if is_component(value):
        check_component(value, key)
    elif isinstance(value, (Mapping, list)):
        for name, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_inside(entry, f"{key}.{name}")


def instantiate(node: Any, key: str, **provided: Any) -> Any:
    """Build a component and all components inside it; sequences become tuples where the signature wants tuples.

    Raises:
        ConfigError: the component refuses an argument's value; the message names the node.
    """
    target = locate(node[TARGET], key)
    hints = argument_types(target)
    arguments = {}
    for name, value in node.items():
        if name != TARGET:
            built = _build(value, f"{key}.{name}")
            arguments[name] = tuple(built) if isinstance(built, list) and _wants_tuple(hints.get(name)) else built
    try:
        return target(**arguments, **provided)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def _wants_tuple(annotation: Any) -> bool:
    options = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    return any(typing.get_origin(option) is tuple for option in (annotation, *options))


def _build(value: Any, key: str) -> Any:
    if is_component(value):
        return instantiate(value, key)
    if isinstance(value, Mapping):
        return {name: _build(entry, f"{key}.{name}") for name, entry in value.items()}
    if isinstance(value, list):
        return [_build(entry, f"{key}.{index}") for index, entry in enumerate(value)]
    return value
