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

from propeller.data import wire
from propeller.data.feature import (
    MOST_MESSAGES,
    BytesList,
    Feature,
    FeatureList,
    FloatList,
    Int64List,
    Message,
    unknown_field,
)
from propeller.errors import UserError, quoted

__all__ = [
    'BytesList',
    'Example',
    'Feature',
    'FeatureList',
    'FeatureLists',
    'Features',
    'FloatList',
    'Int64List',
    'SequenceExample',
]


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
                raise unknown_field(field, kind, self)
            start, at = wire.span(content, at, end, kind)
            name, message = self._entry(content, start, at, entries._made)
            entries[name] = message
            if len(entries) > MOST_MESSAGES:
                raise UserError(f'more than {MOST_MESSAGES:,} entries')

    def _entry(self, content, at, end, made):
        name, message = '', made()
        while at < end:
            field, kind, at = wire.tag(content, at, end)
            if field not in (1, 2):
                raise unknown_field(field, kind, self)
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
                raise unknown_field(field, kind, self)
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
