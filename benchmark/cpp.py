"""Builds `inference/` and calls its tokenizers, for the tests and the programs that compare them with Python's.

    python -m benchmark.cpp

builds what the tests need and prints where it is.
"""

import argparse
import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ernie.tokenizers.alignment import Encoded
from propeller.errors import UserError, one_line_errors
from propeller.storage.folders import write_files

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'inference'
FUSED_ALONE = '-DERNIE_BACKENDS=fused'


class Unavailable(UserError):
    """It cannot be built here; the text says why."""


def build(*options, folder=None, target='all'):
    """Builds it, or what has changed since the last time, and returns the folder of the build.

    Args:
        options: for cmake: `-DNAME=VALUE`; `FUSED_ALONE` for what needs no OpenVINO.
        folder: None: `inference/build/test`, or another name with it for other options.
        target: what is built.
    Raises:
        Unavailable: cmake, a compiler or, where it is asked for, OpenVINO is missing.
        UserError: it fails; the text holds the end of what was said.
    """
    missing = [name for name in ('cmake', 'make') if shutil.which(name) is None]
    if not any(shutil.which(name) for name in (os.environ.get('CXX', 'c++'), 'c++', 'g++', 'clang++')):
        missing.append('a C++ compiler')
    if FUSED_ALONE not in options and importlib.util.find_spec('openvino') is None:
        missing.append('package openvino')
    if missing:
        raise Unavailable(f'inference/ cannot be built: no {" and no ".join(missing)}.')
    name = 'test' + ''.join(f'-{option.partition("=")[2]}' for option in options).replace(',', '-')
    folder = Path(folder or SOURCE / 'build' / name)
    folder.mkdir(parents=True, exist_ok=True)
    configure = ['cmake', '-S', SOURCE, '-B', folder, '-G', 'Unix Makefiles', f'-DPython3_EXECUTABLE={sys.executable}']
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of tests build once
        for command in ([*configure, *options], ['cmake', '--build', folder, '--target', target]):
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace'
            )
            if done.returncode:
                raise UserError(f'{" ".join(map(str, command))}: {" ".join(done.stdout.split())[-2000:]}')
    return folder


def load_library(folder):
    """`libernie.so` of a build, its functions declared."""
    library = ctypes.CDLL(str(Path(folder) / 'libernie.so'))
    text, size, array = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p
    library.ernie_unicode_version.restype = text
    library.ernie_tokenizer_open.restype = ctypes.c_void_p
    library.ernie_tokenizer_open.argtypes = [text, text, size]
    library.ernie_tokenizer_encode.restype = ctypes.c_int64
    library.ernie_tokenizer_encode.argtypes = [ctypes.c_void_p, text, size, array, array, array, size]
    library.ernie_tokenizer_free.argtypes = [ctypes.c_void_p]
    library.ernie_open.restype = ctypes.c_void_p
    library.ernie_open.argtypes = [text, text, text, size]
    library.ernie_predict.restype = ctypes.c_void_p
    library.ernie_predict.argtypes = [ctypes.c_void_p, text, text, size]
    library.ernie_free_text.argtypes = library.ernie_free.argtypes = [ctypes.c_void_p]
    return library


class CppModel:
    """A model of the library. Raises `UserError` with what it says. A context manager.

    Args:
        library: of `load_library`.
        folder: an export.
        settings: of `ernie_open`.
    """

    def __init__(self, library, folder, **settings):
        self._library, self._error = library, ctypes.create_string_buffer(1000)
        given = json.dumps(settings).encode()
        self._model = library.ernie_open(os.fsencode(folder), given, self._error, len(self._error))
        if not self._model:
            raise UserError(self._error.value.decode())

    def call(self, records):
        """The results of JSON, bytes, as JSON."""
        text = self._library.ernie_predict(self._model, records, self._error, len(self._error))
        if not text:
            raise UserError(self._error.value.decode())
        result = ctypes.string_at(text)
        self._library.ernie_free_text(text)
        return result

    def predict(self, records):
        """The results of a list of records."""
        return json.loads(self.call(json.dumps(records).encode()))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._library.ernie_free(self._model)


class CppTokenizer:
    """A tokenizer of the library. Raises `UserError` with what it says. A context manager.

    folder: of a model, or what holds its vocabulary and `tokenizer_config.json`.
    """

    def __init__(self, library, folder):
        error = ctypes.create_string_buffer(1000)
        self._library, self._capacity, self._arrays = library, 0, None
        self._tokenizer = library.ernie_tokenizer_open(os.fsencode(folder), error, len(error))
        if not self._tokenizer:
            raise UserError(error.value.decode())

    def call(self, content):
        """`Encoded` of bytes; the place of the first byte that is not UTF-8, an int, where there is one."""
        self._grow(len(content))
        call, arrays = self._library.ernie_tokenizer_encode, self._arrays
        count = call(self._tokenizer, content, len(content), *arrays, self._capacity)
        if count < 0:
            return -1 - count
        if count > self._capacity:
            self._grow(count)
            arrays = self._arrays
            assert call(self._tokenizer, content, len(content), *arrays, self._capacity) == count
        if call(self._tokenizer, content, len(content), arrays[0], None, None, self._capacity) != count:
            raise AssertionError('other ids without offsets')
        return Encoded(*(array[:count] for array in arrays))

    def _grow(self, size):
        if self._capacity < size or not self._arrays:
            self._capacity = 2 * size
            kinds = ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint32
            self._arrays = [(kind * self._capacity)() for kind in kinds]

    def encode_aligned(self, text):
        """As that of `ernie.tokenizers.Tokenizer`."""
        return self.call(text.encode())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._library.ernie_tokenizer_free(self._tokenizer)


@contextlib.contextmanager
def twin_of(library, tokenizer):
    """The `CppTokenizer` of a `Tokenizer` of Python."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, tokenizer.exported_files(512))
        with CppTokenizer(library, folder) as made:
            yield made


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    print(build())


if __name__ == '__main__':
    with one_line_errors():
        main()
