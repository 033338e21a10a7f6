"""A text that changes when an object would behave differently: of its class, attributes and the code of functions."""

import functools
import hashlib
import re
import types

import numpy as np

_NAMED = (type, types.ModuleType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)

# Of these, what Python writes tells one from all others.
_PLAIN = {type(None), bool, int, float, str, bytes}

# What of a class is a setting of its objects; the rest, as locks and registers of subclasses, says nothing of them.
_SETTINGS = (*_PLAIN, complex, list, tuple, dict, set, frozenset, np.ndarray, re.Pattern)


class Indescribable(Exception):
    """An object whose state cannot be seen from Python; its text names the class."""


def fingerprint(value):
    """A digest of a value: the same in every process that loads the same code.

    Functions count by their byte code, constants, defaults and what they enclose. Objects count by their attributes, or
    what their `__reduce__` or `__getstate__` gives instead, and by the methods and attributes of their class and of
    those that it derives from, but not by the attributes in `NOT_FINGERPRINTED` of the classes. What a function takes
    from its module, as what it calls, counts by its name.

    Raises:
        Indescribable: it holds something of a compiled library.
    """
    digest = hashlib.blake2b(digest_size=16)
    _describe(value, digest.update, [])
    return digest.hexdigest()


def _describe(value, put, within):
    put(f'{type(value).__module__}.{type(value).__qualname__}('.encode())
    if value is None or isinstance(value, bool | int | float | complex | str | np.generic):
        put(repr(value).encode('utf-8', 'surrogatepass'))
    elif isinstance(value, bytes | bytearray):
        put(b'%d:' % len(value) + value)
    elif any(value is other for other in within):
        put(b'again')
    else:
        _of_parts(value, put, [*within, value])
    put(b')')


def _of_parts(value, put, within):
    if isinstance(value, dict) and _sent(value) is None:
        # Two vocabularies of the same entries are the same, whatever their order.
        _in_any_order(value.items(), put, within)
    elif isinstance(value, set | frozenset):
        _in_any_order(value, put, within)
    elif isinstance(value, list | tuple):
        put(b'%d:' % len(value))
        for item in value:
            _describe(item, put, within)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        put(f'{value.dtype.str}{value.shape}'.encode() + value.tobytes())
    elif isinstance(value, re.Pattern):
        _describe((value.pattern, value.flags), put, within)
    elif isinstance(value, _NAMED):
        _of_name(value, put, within)
    elif isinstance(value, types.FunctionType):
        _of_function(value, put, within)
    elif isinstance(value, types.MethodType):
        _describe((value.__func__, value.__self__), put, within)
    elif isinstance(value, functools.partial):
        _describe((value.func, value.args, value.keywords), put, within)
    else:
        _of_object(value, put, within)


def _in_any_order(items, put, within):
    parts = []
    for item in items:
        if all(type(part) in _PLAIN for part in (item if type(item) is tuple else (item,))):
            parts.append(repr(item).encode('utf-8', 'surrogatepass'))
            continue
        digest = hashlib.blake2b(digest_size=16)
        _describe(item, digest.update, within)
        parts.append(digest.digest())
    put(b'%d:' % len(parts) + b'\n'.join(sorted(parts)))


def _of_name(value, put, within):
    put(f'{getattr(value, "__module__", "")}.{getattr(value, "__qualname__", value.__name__)}'.encode())
    bound = getattr(value, '__self__', None)
    if isinstance(value, types.BuiltinFunctionType) and bound is not None:
        _describe(bound, put, within)


def _of_function(function, put, within):
    put(f'{function.__module__}.{function.__qualname__}'.encode())
    _of_code(function.__code__, put, within)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    _describe((function.__defaults__, function.__kwdefaults__, cells), put, within)


def _of_code(code, put, within):
    put(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _of_code(constant, put, within)
        else:
            _describe(constant, put, within)
    _describe((code.co_names, code.co_varnames, code.co_freevars), put, within)


def _of_object(value, put, within):
    state = _sent(value)
    if state is None:
        slots = [name for made in type(value).__mro__ for name in _slots(made)]
        if not hasattr(value, '__dict__') and not slots:
            raise Indescribable(f'{type(value).__module__}.{type(value).__qualname__}')
        state = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, '__dict__', {})
    left_out = {name for made in type(value).__mro__ for name in vars(made).get('NOT_FINGERPRINTED', ())}
    if not any(type(value) is other for other in within):  # an enumeration holds its members
        within = [*within, type(value)]
        for made in type(value).__mro__:
            _of_class(made, left_out, put, within)
    if isinstance(state, dict):
        state = {name: item for name, item in state.items() if name not in left_out}
    _describe(state, put, within)


def _sent(value):
    """What is sent to other processes of an object whose class says that itself; None for others.

    Columns work there too: what stays behind, as what is kept for speed, decides nothing.
    """
    said = {name for made in type(value).__mro__ if made.__module__ != 'builtins' for name in vars(made)}
    try:
        return value.__reduce__() if '__reduce__' in said else value.__getstate__() if '__getstate__' in said else None
    except Exception:  # it cannot be sent
        return None


def _of_class(made, left_out, put, within):
    if made.__module__ == 'builtins':
        return
    for name, item in vars(made).items():
        function = _function_of(item)
        if function is not None:
            put(name.encode())
            _of_function(function, put, within)
        elif isinstance(item, _SETTINGS) and not name.startswith('__') and name not in left_out:
            put(name.encode())
            _describe(item, put, within)


def _function_of(item):
    """The function of what a class has under a name; None for other things."""
    if isinstance(item, classmethod | staticmethod):
        item = item.__func__
    elif isinstance(item, property):
        item = item.fget
    return item if isinstance(item, types.FunctionType) else None


def _slots(made):
    slots = vars(made).get('__slots__', ())
    return [slots] if isinstance(slots, str) else [name for name in slots if not name.startswith('__')]
