"""Reads pickle files that hold plain containers and numpy arrays, and can do nothing else.

The opcodes are taken apart by the standard library's `pickletools`, which executes nothing; this module gives meaning
to those that build data. A pickle names the functions it wants called: here a name is a key of one table of own
functions that check their arguments. Nothing is imported, no attribute of any object is set, no object of the file's
choice is made. Memory and time stay within a multiple of the file's size and of the limits below, also where a pickle
refers to one value many times: nothing is written out, hashed or copied that such references could make large.
"""

import contextlib
import mmap
import pickletools
import struct

import numpy as np

from propeller.errors import UserError, bad_input, one_line, quoted
from propeller.inputs import open_regular
from propeller.storage.pickle_values import (
    FUNCTIONS,
    Array,
    Dtype,
    Name,
    Refused,
    checked_key,
    finished,
    make_tuple,
)

# A second for half a million.
MAX_OPCODES = 5_000_000
MAX_CONTAINERS = 1_000_000
_MARK = object()


class Machine:
    """The stack machine of pickle, with data-building opcodes only; `run` gives the object."""

    functions, persistent = FUNCTIONS, None

    def __init__(self, size, max_opcodes, max_containers):
        self.stack, self.memo = [], {}
        self.max_opcodes, self.containers_left = max_opcodes, max_containers
        # Calls make new data out of remembered data. An honest file does so once: text to bytes, bytes to an array.
        self.bytes_left = 4 * size + 4096

    def run(self, opcodes):
        for count, (opcode, argument, _) in enumerate(opcodes):
            if count >= self.max_opcodes:
                raise Refused(f'more than {self.max_opcodes} steps')
            name = opcode.name
            if name == 'STOP':
                value = self.pop()
                if self.stack:
                    raise Refused('values left over')
                return finished(value)
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self.push_container(_EMPTY[name]())
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            else:
                raise Refused(f'the instruction {name}')
        raise Refused('no end')

    def pop(self):
        if not self.stack:
            raise Refused('an instruction without its value')
        value = self.stack.pop()
        if value is _MARK:
            raise Refused('a mark in place of a value')
        return value

    def pop_to_mark(self):
        at = len(self.stack) - 1
        while at >= 0 and self.stack[at] is not _MARK:
            at -= 1
        if at < 0:
            raise Refused('a group without its start')
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def top(self, kind, what):
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise Refused(f'an instruction for a {what} without one')
        return self.stack[-1]

    def push_container(self, value):
        self.containers_left -= 1
        if self.containers_left < 0:
            raise Refused('too many containers')
        self.stack.append(value)

    def remember(self, index):
        if not self.stack:
            raise Refused('an instruction without its value')
        self.memo[index] = self.stack[-1]

    def recall(self, index):
        if index not in self.memo:
            raise Refused('a reference to nothing')
        self.stack.append(self.memo[index])

    def tuple_of(self, count):
        items = [self.pop() for _ in range(count)]
        self.push_container(make_tuple(items[::-1]))

    def append(self, items):
        self.top(list, 'list').extend(finished(item) for item in items)

    def add(self, items):
        self.top(set, 'set').update(checked_key(item) for item in items)

    def set_items(self, items):
        if len(items) % 2:
            raise Refused('a key without its value')
        target = self.top(dict, 'dictionary')
        for key, value in zip(items[::2], items[1::2], strict=True):
            if checked_key(key) in target:
                raise Refused(f'the key {quoted(key, 80)} twice')
            target[key] = finished(value)

    def set_item(self):
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def dictionary(self):
        items = self.pop_to_mark()
        self.push_container({})
        self.set_items(items)

    def list(self):
        items = self.pop_to_mark()
        self.push_container([finished(item) for item in items])

    def name(self, text):
        if text not in self.functions:
            raise Refused(f'the name {quoted(text, 80)}')
        self.stack.append(Name(text, self.functions[text]))

    def stack_name(self):
        attribute, module = self.pop(), self.pop()
        if not isinstance(attribute, str) or not isinstance(module, str):
            raise Refused('a name that is no text')
        self.name(f'{module}.{attribute}')

    def reduce(self):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused('a call of something that is no function')
        for argument in arguments:
            self.charge(argument)
        try:
            value = function.call(*arguments)
        except TypeError:
            raise Refused(f'a call of {function.name} with wrong arguments') from None
        self.charge(value)
        self.push_container(value)

    def build(self):
        state = self.pop()
        target = self.top(Array | Dtype, 'numpy array')
        target.set_state(state)
        self.charge(target.value)

    def charge(self, value):
        if isinstance(value, np.ndarray):
            self.bytes_left -= value.nbytes
        elif isinstance(value, str | bytes | bytearray | dict | set | frozenset | list | tuple):
            self.bytes_left -= len(value)
        if self.bytes_left < 0:
            raise Refused('calls that make more data than the file holds')

    def persistent_value(self):
        if self.persistent is None:
            raise Refused('the instruction BINPERSID')
        self.push_container(self.persistent(self.pop()))

    def proto(self, version):
        if not 2 <= version <= 5:
            raise Refused(f'pickle protocol {version}; 2 to 5 are read')


_LITERALS = frozenset(
    ('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT')
    + ('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8')
    + ('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8')
)
_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'MARK': _MARK}
_EMPTY = {'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict, 'EMPTY_SET': set}
_ACTIONS = {
    'PROTO': lambda m, version: m.proto(version),
    'FRAME': lambda m, _: None,
    'PUT': lambda m, i: m.remember(i),
    'BINPUT': lambda m, i: m.remember(i),
    'LONG_BINPUT': lambda m, i: m.remember(i),
    'MEMOIZE': lambda m, _: m.remember(len(m.memo)),
    'GET': lambda m, i: m.recall(i),
    'BINGET': lambda m, i: m.recall(i),
    'LONG_BINGET': lambda m, i: m.recall(i),
    'POP': lambda m, _: m.pop(),
    'POP_MARK': lambda m, _: m.pop_to_mark(),
    'TUPLE1': lambda m, _: m.tuple_of(1),
    'TUPLE2': lambda m, _: m.tuple_of(2),
    'TUPLE3': lambda m, _: m.tuple_of(3),
    'TUPLE': lambda m, _: m.push_container(make_tuple(m.pop_to_mark())),
    'LIST': lambda m, _: m.list(),
    'DICT': lambda m, _: m.dictionary(),
    'APPEND': lambda m, _: m.append([m.pop()]),
    'APPENDS': lambda m, _: m.append(m.pop_to_mark()),
    'ADDITEMS': lambda m, _: m.add(m.pop_to_mark()),
    'FROZENSET': lambda m, _: m.push_container(frozenset(checked_key(v) for v in m.pop_to_mark())),
    'SETITEM': lambda m, _: m.set_item(),
    'SETITEMS': lambda m, _: m.set_items(m.pop_to_mark()),
    'GLOBAL': lambda m, text: m.name(text.replace(' ', '.', 1)),
    'STACK_GLOBAL': lambda m, _: m.stack_name(),
    'BINPERSID': lambda m, _: m.persistent_value(),
    'REDUCE': lambda m, _: m.reduce(),
    'BUILD': lambda m, _: m.build(),
}


def load(path, max_opcodes=MAX_OPCODES, max_containers=MAX_CONTAINERS):
    """The object in a pickle file (protocol 2 to 5) that holds data only.

    Data are: dict, OrderedDict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, bool, None, and numpy
    arrays and scalars of whole numbers, floating-point numbers or bool. Arrays may be read-only. Keys and members of
    sets are text, bytes or numbers.

    Args:
        path: the file.
        max_opcodes: largest number of pickle instructions, which bounds time and memory.
        max_containers: largest number of containers and called functions.

    Raises:
        UserError: the file cannot be read, is broken, or asks for anything else. Nothing of it was executed.
    """
    with open_regular(path, 'a pickle file') as f, refusals(path):
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        with data:
            return Machine(len(data), max_opcodes, max_containers).run(pickletools.genops(data))


def load_bytes(content, path, machine, max_opcodes):
    """The same for the bytes of a pickle, `path` being where they are from.

    Args:
        machine: subclass of `Machine` whose `functions` are the names that may be called, and whose `persistent`, if
            not None, gives values for persistent ids.
    """
    with refusals(path):
        return machine(len(content), max_opcodes, max_opcodes).run(pickletools.genops(content))


@contextlib.contextmanager
def refusals(path):
    """Around the reading of a pickle: what is wrong with it is a `UserError`."""
    try:
        yield
    except Refused as e:
        raise bad_input(
            path, str(e), 'a pickle file of plain data and numpy arrays', advice='Nothing in it was executed.'
        ) from None
    except OSError as e:
        raise UserError(f'{path}: cannot be read ({e.strerror}).') from None
    except (ValueError, struct.error, OverflowError, RecursionError) as e:
        if isinstance(e, UserError):
            raise
        reason = 'nothing' if 'empty file' in str(e) else f'no pickle ({one_line(e, 100)})'
        raise bad_input(path, reason, 'a pickle file') from None
