"""Hostile weights and configurations for the backend `fused` of `inference/`: cases of `cpp_hostile`."""

import json
import struct

import numpy as np

from benchmark.acceptance.cpp_cases import Case, append, as_folder, changed_json, cut, fifo, remove, write

FILE = 'model.safetensors'
_HEAD, _WORDS = '_cls_out_b', 'word_embedding'


def parts_of(content):
    """(header as dict, data) of a safetensors file, bytes."""
    (length,) = struct.unpack_from('<Q', content)
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def whole(header, data, length=None):
    """The bytes of a safetensors file. header: dict, or bytes. length: what is said of it; None: the truth."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


def _header(change, length=None):
    """Changes the header, a dict; `change` returns another or None."""

    def changed(folder):
        header, data = parts_of((folder / FILE).read_bytes())
        header = change(header) or header
        (folder / FILE).write_bytes(whole(header, data, length))

    return changed


def _entry(name, **values):
    """Replaces members of a tensor's entry; None takes one out."""

    def change(header):
        entry = header[name] | values
        header[name] = {key: value for key, value in entry.items() if value is not None}

    return _header(change)


def _without(name):
    return _header(lambda header: {key: value for key, value in header.items() if key != name})


def rewritten(change):
    """A change of a folder: its tensors are what `change` makes of the dict of arrays."""

    def changed(folder):
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / FILE)
        save_file(change(tensors) or tensors, folder / FILE)

    return changed


def _tensor(name, value):
    """value: function of the array, or an array; None: taken out."""

    def change(tensors):
        old = tensors.pop(name)
        if value is not None:
            tensors[name] = np.ascontiguousarray(value(old) if callable(value) else value)

    return rewritten(change)


def _filled(number):
    def fill(array):
        array = array.copy()
        array.flat[-1] = number
        return array

    return fill


WEIGHTS = [
    Case('all is well', ''),
    Case('no weights', r'model\.safetensors: found no such file', remove(FILE)),
    Case('weights are a folder', 'found a folder', as_folder(FILE)),
    Case('weights are a FIFO', 'found a FIFO', fifo(FILE)),
    Case('no bytes', 'a header of 0 bytes in a file of 0', write(FILE, b'')),
    Case('seven bytes', 'a header of 0 bytes in a file of 7', write(FILE, bytes(7))),
    Case('a length alone', 'a header of 2 bytes in a file of 8', write(FILE, struct.pack('<Q', 2))),
    Case('noise', 'a header of 506097522914230528 bytes', write(FILE, bytes(range(256)) * 40)),
    Case('half of them', 'at the bytes', cut(FILE, 0.5)),
    Case('nearly all of them', 'at the bytes', cut(FILE, 0.999)),
    Case('a header beyond the end', 'a header of 99999999 bytes', _header(lambda h: h, 99_999_999)),
    Case('the largest length', 'a header of 18446744073709551615 bytes', _header(lambda h: h, 2**64 - 1)),
    Case('a header of 17 MB', 'at most 16777216 are read', _header(lambda h: b' ' * 17_000_000)),
    Case('a header of spaces', 'bad JSON', _header(lambda h: b' ' * 1000)),
    Case('a header of bytes', 'found byte 0xff|bad JSON', _header(lambda h: b'\xff' * 1000)),
    Case('a list as header', 'a header that is no object', _header(lambda h: b'[]')),
    Case('brackets in the header', 'more than 100 levels', _header(lambda h: b'{"a": ' + b'[' * 100_000)),
    Case('a tensor twice', 'twice', _header(lambda h: b'{"a": {}, "a": {}}')),
    Case('no tensors', r'\d+ bytes of data for tensors of 0', _header(lambda h: b'{}')),
    Case('metadata of numbers', '__metadata__ that is no mapping', _header(lambda h: h | {'__metadata__': {'a': 1}})),
    Case('metadata of texts', '', _header(lambda h: h | {'__metadata__': {'format': 'np'}})),
    Case('an entry of numbers', "'b' without dtype, shape", _header(lambda h: h | {'b': [1, 2]})),
    Case('no type', 'without dtype, shape', _entry(_HEAD, dtype=None)),
    Case('more in an entry', 'without dtype, shape', _entry(_HEAD, more=1)),
    Case('an unknown type', 'of the unknown type', _entry(_HEAD, dtype='F31')),
    Case('a type of numbers', 'of the unknown type', _entry(_HEAD, dtype=32)),
    Case('a type of eight bits', r"_cls_out_b' of F8_E4M3 '\[3\]' in 12 bytes", _entry(_HEAD, dtype='F8_E4M3')),
    Case('whole numbers as weights', 'of type I32, expected F32', _entry(_HEAD, dtype='I32')),
    Case('complex weights', r"of C64 '\[3\]' in 12 bytes", _entry(_HEAD, dtype='C64')),
    Case('a shape of words', "of shape '", _entry(_HEAD, shape=['a'])),
    Case('a negative shape', "of shape '", _entry(_HEAD, shape=[-3])),
    Case('a shape of halves', "of shape '", _entry(_HEAD, shape=[1.5, 2])),
    Case('a huge shape', "of shape '", _entry(_HEAD, shape=[2**62, 2**62])),
    Case('a shape that overflows to 3', "of shape '", _entry(_HEAD, shape=[2**32 + 1, 2**32, 3])),
    Case('a shape beyond 64 bits', 'the number|of shape', _entry(_HEAD, shape=[2**70])),
    Case('a shape of nothing and much', "of shape '", _entry(_HEAD, shape=[0, 2**62])),
    Case('40 sizes', "of shape '", _entry(_HEAD, shape=[1] * 39 + [3])),
    Case('places behind the end', 'at the bytes', _entry(_HEAD, data_offsets=[10**9, 10**9 + 12])),
    Case('places backwards', 'at the bytes', _entry(_HEAD, data_offsets=[12, 0])),
    Case('negative places', 'at the bytes', _entry(_HEAD, data_offsets=[-12, 0])),
    Case('three places', 'at the bytes', _entry(_HEAD, data_offsets=[0, 12, 24])),
    Case('places of words', 'at the bytes', _entry(_HEAD, data_offsets='all')),
    Case('more bytes than numbers', 'in 16 bytes', _entry(_HEAD, data_offsets=[0, 16])),
    Case('a place twice', 'begins at byte', _header(lambda h: h | {_HEAD: h[_HEAD], 'b': h[_HEAD]})),
    Case('a gap', 'begins at byte|bytes of data for tensors', _without(_HEAD)),
    Case('bytes behind the last', r'bytes of data for tensors of', append(FILE, b'1234')),
    Case('no head', "no tensor '_cls_out_b'", _tensor(_HEAD, None)),
    Case('no pooling', "no tensor 'pooled_fc.w_0'", _tensor('pooled_fc.w_0', None)),
    Case('no last layer', 'no tensor', _tensor('encoder_layer_1_post_ffn_layer_norm_bias', None)),
    Case('a table that is turned', 'word_embedding of shape', _tensor(_WORDS, lambda x: x.T)),
    Case('a table with a row less', 'word_embedding of shape', _tensor(_WORDS, lambda x: x[:-1])),
    Case('a flat table', 'word_embedding of shape', _tensor(_WORDS, lambda x: x.ravel())),
    Case('an empty table', r'word_embedding of shape \[0, 12\]', _tensor(_WORDS, lambda x: x[:0])),
    Case('a bias of one number', r'_cls_out_b of shape \[1\]', _tensor(_HEAD, np.ones(1, np.float32))),
    Case('another head', 'labels.json say', _tensor(_HEAD, np.ones(2, np.float32))),
    Case('NaN among the weights', 'not finite', _tensor('encoder_layer_1_ffn_fc_0.w_0', _filled(np.nan))),
    Case('an infinity among words', 'not finite', _tensor(_WORDS, _filled(-np.inf))),
    Case('too large for float32', 'not finite', _tensor(_HEAD, lambda x: x.astype(np.float64) * 1e300)),
    Case('an infinity in half precision', 'not finite', _tensor(_HEAD, np.full(3, np.inf, np.float16))),
    Case('half precision', '', _tensor(_WORDS, lambda x: x.astype(np.float16))),
    Case('double precision', '', _tensor(_WORDS, lambda x: x.astype(np.float64))),
    Case('an odd header', '', _header(lambda h: json.dumps(h).encode() + b' ' * (3 - len(json.dumps(h)) % 4))),
    Case('huge numbers', '', _tensor(_WORDS, lambda x: np.full_like(x, 3e38))),
    Case('no hidden_size', 'no hidden_size', changed_json('ernie_config.json', hidden_size=None)),
    Case('another width', 'of shape', changed_json('ernie_config.json', hidden_size=24)),
    Case('a huge width', 'of shape', changed_json('ernie_config.json', hidden_size=2**31 - 1, num_attention_heads=1)),
    Case('heads that do not fit', 'a multiple of num_att', changed_json('ernie_config.json', num_attention_heads=5)),
    Case('no heads', 'num_attention_heads', changed_json('ernie_config.json', num_attention_heads=0)),
    Case('a layer more', "no tensor 'encoder_layer_2_m", changed_json('ernie_config.json', num_hidden_layers=3)),
    Case('layers without end', 'num_hidden_layers', changed_json('ernie_config.json', num_hidden_layers=10**9)),
    Case('another inner width', 'of shape', changed_json('ernie_config.json', intermediate_size=7)),
    Case('more words', 'word_embedding of shape', changed_json('ernie_config.json', vocab_size=62)),
    Case('one sentence type', 'sent_embedding of shape', changed_json('ernie_config.json', type_vocab_size=1)),
    Case('another activation', "hidden_act 'tanh'", changed_json('ernie_config.json', hidden_act='tanh')),
    Case('no epsilon', 'another layer_norm_eps', changed_json('ernie_config.json', layer_norm_eps=0)),
    Case('an epsilon of letters', 'another layer_norm_eps', changed_json('ernie_config.json', layer_norm_eps='x')),
    Case('an encoder of words', "an encoder of the kind 'bow'", changed_json('ernie_config.json', encoder='bow')),
    Case('the format of OpenVINO', 'fused, which this build', changed_json('inference.json', format='openvino')),
]
