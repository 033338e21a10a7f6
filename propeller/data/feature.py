"""A feature of an example, and the lists that it may be; see `propeller.data.example`."""

import array

from propeller.data import wire
from propeller.errors import UserError, quoted

MOST_MESSAGES = 1 << 16  # of one kind in one message: two bytes each in a file, hundreds in memory


class Message:
    """What all messages have."""

    __slots__ = ()

    def SerializeToString(self):  # noqa: N802 - protobuf's name
        """The bytes."""
        out = bytearray()
        self._write(out)
        return bytes(out)

    def ParseFromString(self, content):  # noqa: N802 - protobuf's name
        """Take the content of `content`, bytes, in the place of what is here. -> the number of bytes.

        Raises:
            UserError: they are no such message.
        """
        self.__init__()
        self._read(memoryview(content).cast('B'), 0, len(content))
        return len(content)

    @classmethod
    def FromString(cls, content):  # noqa: N802 - protobuf's name
        """The message that is written in `content`, bytes. For errors see `ParseFromString`."""
        message = cls()
        message.ParseFromString(content)
        return message

    def CopyFrom(self, other):  # noqa: N802 - protobuf's name
        """Take the content of `other`, which has SerializeToString, in the place of what is here."""
        self.ParseFromString(other.SerializeToString())

    def ByteSize(self):  # noqa: N802 - protobuf's name
        """Number of bytes."""
        return len(self.SerializeToString())

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return self.SerializeToString() == other.SerializeToString()

    __hash__ = None

    def __repr__(self):
        names = (name for made in reversed(type(self).__mro__) for name in getattr(made, '__slots__', ()))
        fields = ', '.join(f'{name}={getattr(self, name)!r}' for name in names if name[0] != '_')
        return f'{type(self).__name__}({fields})'


# ---------------------------------------------------------------------------------------------------- lists of values


class _List(Message):
    __slots__ = ('value',)

    def __init__(self, value=()):
        self.value = self._made(value)

    def _read(self, content, at, end):
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field != 1:
                raise unknown_field(field, kind, self)
            at = self._read_value(kind, content, at, end)


class BytesList(_List):
    """value: list of bytes."""

    __slots__ = ()
    _made = staticmethod(list)

    def _write(self, out):
        for value in self.value:
            wire.put_bytes(out, 1, value.encode() if isinstance(value, str) else bytes(value))

    def _read_value(self, kind, content, at, end):
        start, at = wire.span(content, at, end, kind)
        self.value.append(bytes(content[start:at]))
        return at


class FloatList(_List):
    """value: `array.array('f')`, which numpy takes as it is."""

    __slots__ = ()

    @staticmethod
    def _made(value):
        return array.array('f', value)

    def _write(self, out):
        if self.value:
            wire.put_bytes(out, 1, wire.little_floats(array.array('f', self.value)))

    def _read_value(self, kind, content, at, end):
        if kind == wire.FIXED32:
            start, at = at, at + 4
            if at > end:
                raise UserError('a float that ends too early')
        else:
            start, at = wire.span(content, at, end, kind)
        self.value.frombytes(wire.floats(content[start:at]))
        return at


class Int64List(_List):
    """value: `array.array('q')`, which numpy takes as it is."""

    __slots__ = ()

    @staticmethod
    def _made(value):
        try:
            return array.array('q', value)
        except OverflowError:
            number = next(number for number in value if not -(2**63) <= number < 2**63)
            raise UserError(f'found the number {quoted(number)}, expected one of 64 bits.') from None

    def _write(self, out):
        if self.value:
            wire.put_bytes(out, 1, wire.put_varints(self.value))

    def _read_value(self, kind, content, at, end):
        if kind == wire.VARINT:
            number, at = wire.varint(content, at, end)
            self.value.append(number - (1 << 64) if number >> 63 else number)
            return at
        start, at = wire.span(content, at, end, kind)
        self.value.frombytes(wire.varints(content[start:at]))
        return at


class Feature(Message):
    """One of `bytes_list`, `float_list`, `int64_list`."""

    _KINDS = {1: ('bytes_list', BytesList), 2: ('float_list', FloatList), 3: ('int64_list', Int64List)}
    _NUMBERS = {name: number for number, (name, _) in _KINDS.items()}
    __slots__ = ('_kind', '_lists')

    def __init__(self, **lists):
        if len(lists) > 1 or not lists.keys() <= self._NUMBERS.keys():
            raise ValueError(f'found {", ".join(lists)}, expected one of {", ".join(self._NUMBERS)}')
        self._lists, self._kind = lists, next(iter(lists), None)

    @property
    def bytes_list(self):
        """The `BytesList`; an empty one if the feature is of another kind."""
        return self._list('bytes_list')

    @property
    def float_list(self):
        """The `FloatList`; an empty one if the feature is of another kind."""
        return self._list('float_list')

    @property
    def int64_list(self):
        """The `Int64List`; an empty one if the feature is of another kind."""
        return self._list('int64_list')

    def _list(self, name):
        # Filled later, it becomes what the feature holds.
        return self._lists.get(name) or self._lists.setdefault(name, self._KINDS[self._NUMBERS[name]][1]())

    def WhichOneof(self, group='kind'):  # noqa: N802 - protobuf's name
        """The name of the list that the feature holds; None for none."""
        filled = [name for name, values in self._lists.items() if values.value]
        return filled[-1] if filled else self._kind

    def HasField(self, name):  # noqa: N802 - protobuf's name
        """Whether the feature holds the list of that name."""
        return self.WhichOneof() == name

    def _write(self, out):
        kind = self.WhichOneof()
        if kind is not None:
            wire.put_bytes(out, self._NUMBERS[kind], self._lists[kind].SerializeToString())

    def _read(self, content, at, end):
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            name, made = self._KINDS.get(field, (None, None))
            if name is None:
                raise unknown_field(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            if name != self._kind:  # one of them: the last one holds
                self._lists, self._kind = {name: made()}, name
            self._lists[name]._read(content, start, at)

    def __repr__(self):
        kind = self.WhichOneof()
        return f'Feature({kind}={self._lists[kind]!r})' if kind else 'Feature()'


class FeatureList(Message):
    """feature: list of `Feature`."""

    __slots__ = ('feature',)

    def __init__(self, feature=()):
        self.feature = list(feature)

    def _write(self, out):
        for feature in self.feature:
            wire.put_bytes(out, 1, feature.SerializeToString())

    def _read(self, content, at, end):
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field != 1:
                raise unknown_field(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            feature = Feature()
            feature._read(content, start, at)
            self.feature.append(feature)
            if len(self.feature) > MOST_MESSAGES:
                raise UserError(f'more than {MOST_MESSAGES:,} features')


def unknown_field(field, kind, message):
    """The `UserError` for a field that is not in the table."""
    return UserError(f'field {field} of wire type {kind} in {type(message).__name__}')
