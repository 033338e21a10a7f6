"""What `cpp_hostile` gives to the programs of `inference/`: a case, and changes of the copy of a model."""

import json
import os
from typing import NamedTuple

from benchmark.acceptance.sentencepiece_files import write_subword

GOOD = '{"text_a": "好"}\n'


class Case(NamedTuple):
    """What is given, and what must be said.

    name: of the case. said: regular expression of the line; '' where all is well. change: function (folder of a copy
    of the model) that breaks it. content: bytes of the file that is read; None: there is none. flags: after model and
    file. file: its name. program: which one.
    """

    name: str
    said: str
    change: object = None
    content: bytes | None = GOOD.encode()
    flags: tuple = ()
    file: str = 'rows'
    program: str = 'ernie_predict'


def write(name, content):
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def changed_json(name, **values):
    """Replaces members of a JSON file; None takes one out."""

    def change(folder):
        content = json.loads((folder / name).read_text(encoding='utf-8')) | values
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept, ensure_ascii=False), encoding='utf-8')

    return change


def remove(name):
    return lambda folder: (folder / name).unlink()


def fifo(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def as_folder(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def cut(name, share):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def append(name, content):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + content)


def sample(*tensors, shape='1 3 1'):
    parts = tensors or ('1 2 3', '0 0 0', '0 1 2', '1 1 1')
    return ';'.join(part if ':' in part else f'{shape}:{part}' for part in parts).encode() + b'\n'


def words(lexer):
    """A folder whose tokens are whole words."""

    def change(folder):
        changed_json('tokenizer_config.json', tokenizer_class='WordTokenizer', lexer=lexer)(folder)
        changed_json('labels.json', tokenizer='WordTokenizer')(folder)

    return change


def subword(*changes, **given):
    """A folder with the tokenizer of ERNIE tiny, and then changes of it. given: of `write_subword`."""

    def change(folder):
        write_subword(folder, **given)
        for inner in changes:
            inner(folder)

    return change


def grow(name, size):
    return lambda folder: os.truncate(folder / name, size)


def rename(name, to):
    return lambda folder: (folder / name).rename(folder / to)
