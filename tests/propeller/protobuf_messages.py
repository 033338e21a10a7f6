"""The messages of record files as protobuf's own classes, built from the field table at run time: the oracle.

`python -m tests.propeller.protobuf_messages` writes `golden/records.gz`, a record file as a program of 2019 wrote it.
"""

import gzip
import struct
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

GOLDEN = Path(__file__).resolve().parent / 'golden' / 'records.gz'
# message -> rows of (number, name, type, repeated); a type in braces is a map from string.
TABLE = {
    'BytesList': [(1, 'value', 'bytes', True)],
    'FloatList': [(1, 'value', 'float', True)],
    'Int64List': [(1, 'value', 'int64', True)],
    'Feature': [
        (1, 'bytes_list', 'BytesList', False),
        (2, 'float_list', 'FloatList', False),
        (3, 'int64_list', 'Int64List', False),
    ],
    'Features': [(1, 'feature', '{Feature}', False)],
    'FeatureList': [(1, 'feature', 'Feature', True)],
    'FeatureLists': [(1, 'feature_list', '{FeatureList}', False)],
    'Example': [(1, 'features', 'Features', False)],
    'SequenceExample': [(1, 'context', 'Features', False), (2, 'feature_lists', 'FeatureLists', False)],
}
_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {'bytes': _FIELD.TYPE_BYTES, 'float': _FIELD.TYPE_FLOAT, 'int64': _FIELD.TYPE_INT64}


def _file():
    file = descriptor_pb2.FileDescriptorProto(name='example.proto', package='propeller', syntax='proto3')
    for name, rows in TABLE.items():
        message = file.message_type.add(name=name)
        if name == 'Feature':
            message.oneof_decl.add(name='kind')
        for number, field, kind, repeated in rows:
            is_map = kind.startswith('{')
            label = _FIELD.LABEL_REPEATED if repeated or is_map else _FIELD.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if is_map:
                entry = message.nested_type.add(name=''.join(part.title() for part in field.split('_')) + 'Entry')
                entry.options.map_entry = True
                entry.field.add(name='key', number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
                value = entry.field.add(name='value', number=2, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_MESSAGE)
                value.type_name = f'.propeller.{kind[1:-1]}'
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f'.propeller.{name}.{entry.name}'
            elif kind in _TYPES:
                made.type = _TYPES[kind]
            else:
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f'.propeller.{kind}'
            if name == 'Feature':
                made.oneof_index = 0
    return file


def messages():
    """dict name -> protobuf's class."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f'propeller.{name}')) for name in TABLE}


# Ids of a text of three words, of an empty one, and the ends of int64; the label.
ROWS = [([2, 300, 70000], 1), ([], 0), ([0, -1, 2**63 - 1, -(2**63)], 2), (list(range(200)), 1)]


def main():
    """Write the golden file."""
    classes = messages()
    content = b''
    for ids, label in ROWS:
        example = classes['Example']()
        example.features.feature['text'].int64_list.value.extend(ids)
        example.features.feature['text'].int64_list.SetInParent()
        example.features.feature['label'].int64_list.value.append(label)
        payload = example.SerializeToString(deterministic=True)
        content += struct.pack(f'<i{len(payload)}s', len(payload), payload)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_bytes(gzip.compress(content, 6, mtime=0))


if __name__ == '__main__':
    main()
