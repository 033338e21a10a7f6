"""The messages of record files, `Example` and `SequenceExample`, written and read by their field table.

| message | fields |
|---|---|
| `Example` | 1 `features`: Features |
| `SequenceExample` | 1 `context`: Features, 2 `feature_lists`: FeatureLists |
| `Features` | 1 `feature`: map string -> Feature |
| `FeatureLists` | 1 `feature_list`: map string -> FeatureList |
| `FeatureList` | 1 `feature`: repeated Feature |
| `Feature` | one of: 1 `bytes_list`, 2 `float_list`, 3 `int64_list` |
| `BytesList`, `FloatList`, `Int64List` | 1 `value`: repeated, packed for float and int64 |

The bytes are those of protobuf (proto3, maps in the order of their keys); the classes are used as protobuf's are. Its
own parser takes what does not belong there for fields of a later version and drops it in silence; this one refuses it.
"""

import array

from propeller.data import wire
from propeller.errors import UserError, quoted

_MOST_MESSAGES = 1 << 20  # of one kind in one message: two bytes each in a file, a hundred in memory


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
                raise _unknown(field, kind, self)
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
                raise _unknown(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            if name != self._kind:  # one of them: the last one holds
                self._lists, self._kind = {name: made()}, name
            self._lists[name]._read(content, start, at)

    def __repr__(self):
        kind = self.WhichOneof()
        return f'Feature({kind}={self._lists[kind]!r})' if kind else 'Feature()'


# ---------------------------------------------------------------------------------------------------- maps and groups


class _Map(dict):
    """A map of messages: asked for a key that is not there, it makes an empty message."""

    def __init__(self, made, items=()):
        super().__init__(items)
        self._made = made

    def __missing__(self, key):
        self[key] = self._made()
        return self[key]

    def __reduce__(self):
        return _Map, (self._made, dict(self))


class _OfMap(Message):
    """A message whose field 1 is a map string -> message."""

    __slots__ = ()

    def _write(self, out):
        entries = [(name.encode(), message) for name, message in self._map().items()]
        for name, message in sorted(entries, key=lambda entry: entry[0]):
            entry = bytearray()
            wire.put_bytes(entry, 1, name)
            wire.put_bytes(entry, 2, message.SerializeToString())
            wire.put_bytes(out, 1, entry)

    def _read(self, content, at, end):
        entries = self._map()
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field != 1:
                raise _unknown(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            name, message = self._entry(content, start, at, entries._made)
            entries[name] = message
            if len(entries) > _MOST_MESSAGES:
                raise UserError(f'more than {_MOST_MESSAGES:,} entries')

    def _entry(self, content, at, end, made):
        name, message = '', made()
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field not in (1, 2):
                raise _unknown(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            if field == 2:
                message._read(content, start, at)
                continue
            try:
                name = str(content[start:at], 'utf-8')
            except UnicodeDecodeError:
                raise UserError(f'the name {quoted(bytes(content[start:at]))}, which is not UTF-8') from None
        return name, message


class Features(_OfMap):
    """feature: dict name -> `Feature`."""

    __slots__ = ('feature',)

    def __init__(self, feature=()):
        self.feature = _Map(Feature, feature)

    def _map(self):
        return self.feature


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
                raise _unknown(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            feature = Feature()
            feature._read(content, start, at)
            self.feature.append(feature)
            if len(self.feature) > _MOST_MESSAGES:
                raise UserError(f'more than {_MOST_MESSAGES:,} features')


class FeatureLists(_OfMap):
    """feature_list: dict name -> `FeatureList`."""

    __slots__ = ('feature_list',)

    def __init__(self, feature_list=()):
        self.feature_list = _Map(FeatureList, feature_list)

    def _map(self):
        return self.feature_list


class _OfMessages(Message):
    """A message of messages: `_FIELDS` is number -> name."""

    __slots__ = ()

    def _write(self, out):
        for number, name in self._FIELDS.items():
            content = getattr(self, name).SerializeToString()
            if content or name in self._given:
                wire.put_bytes(out, number, content)

    def _read(self, content, at, end):
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field not in self._FIELDS:
                raise _unknown(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            self._given.add(self._FIELDS[field])
            getattr(self, self._FIELDS[field])._read(content, start, at)


class Example(_OfMessages):
    """features: `Features`."""

    __slots__ = ('_given', 'features')
    _FIELDS = {1: 'features'}

    def __init__(self, features=None):
        self._given = {'features'} if features is not None else set()
        self.features = Features() if features is None else features


class SequenceExample(_OfMessages):
    """context: `Features`; feature_lists: `FeatureLists`."""

    __slots__ = ('_given', 'context', 'feature_lists')
    _FIELDS = {1: 'context', 2: 'feature_lists'}

    def __init__(self, context=None, feature_lists=None):
        given = {'context': context, 'feature_lists': feature_lists}
        self._given = {name for name, message in given.items() if message is not None}
        self.context = Features() if context is None else context
        self.feature_lists = FeatureLists() if feature_lists is None else feature_lists


def _unknown(field, kind, message):
    return UserError(f'field {field} of wire type {kind} in {type(message).__name__}')
