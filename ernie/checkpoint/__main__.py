"""`python -m ernie.checkpoint inspect PATH` and `python -m ernie.checkpoint convert SRC DST --to FORMAT`."""

import math

import numpy as np

from ernie.checkpoint.convert import FORMATS, convert
from ernie.checkpoint.model_folder import open_model
from ernie.checkpoint.names import is_training_state
from ernie.checkpoint.tokenizer_settings import folder_tokenizer, shown
from ernie.config import ErnieConfig
from ernie.inference.huggingface_check import output_check
from ernie.tokenization import load_vocab
from ernie.zoo.resolver import resolve
from propeller.args import Parser
from propeller.errors import QUOTED, UserError, one_line, one_line_errors

_LISTED, _FEW = 20, 3


def make_parser(prog=None):
    """The command line."""
    parser = Parser(prog=prog or 'python -m ernie.checkpoint', description='Look into and convert models.')
    commands = parser.add_subparsers(dest='command', required=True)
    places = (
        'A model folder (params/, vocab.txt, ernie_config.json), its params folder, a checkpoint folder, '
        'a Hugging Face or PaddleNLP folder, a .safetensors, .pdparams or PyTorch .bin file, a BERT checkpoint of '
        'TensorFlow (bert_model.ckpt, or its folder).'
    )
    inspect = commands.add_parser('inspect', help='Print names, shapes, types, mean and standard deviation.')
    inspect.add_argument('path', help=places)
    change = commands.add_parser('convert', help='Write a model in another format, checked by reading it back.')
    change.add_argument('source', metavar='SRC', help=places)
    change.add_argument('target', metavar='DST', help='The folder to make; it must not exist.')
    change.add_argument('--to', required=True, choices=FORMATS, help='Format of the new folder.')
    change.add_argument('--config', help='ernie_config.json, or bert_config.json of Google, if SRC has none.')
    change.add_argument('--vocab', help='vocab.txt, if SRC has none.')
    unused = 'Tensors of the encoder (or prefixes ending in *) to leave out, joined by commas.'
    change.add_argument('--allow_unused', default='', help=unused)
    return parser


def table(rows):
    """Lines of a table with columns as wide as their widest cell; the first column is aligned to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        yield '  '.join(cells)


def inspect_lines(path):
    """What `inspect` prints about the model at `path`, line by line.

    Raises:
        UserError: see `open_model`.
    """
    model = open_model(path)
    rows, values, size = [('name', 'shape', 'dtype', 'mean', 'std')], 0, 0
    for name in model:
        array = model[name]
        values, size = values + array.size, size + array.nbytes
        rows.append((one_line(name, QUOTED), str(list(array.shape)), str(array.dtype), *_moments(array)))
    yield from table(rows)
    yield f'total: {len(model)} tensors, {values:,} values, {size:,} bytes'
    yield f'format: {model.source}'
    if model.unmapped:
        yield f'without an ERNIE name: {", ".join(one_line(name, QUOTED) for name in model.unmapped)}'
    if model.config is None:
        yield f'config: none found{f" ({model.no_config})" if model.no_config else ""}'
    else:
        yield 'config: ' + ', '.join(ErnieConfig(model.config).print_lines())
    yield f'vocabulary: {_vocabulary(model.vocab_path)}'
    yield f'texts: {_texts(model.folder)}'


def _moments(array):
    if not array.size or not math.isfinite(mean := float(np.mean(array, dtype=np.float64))):
        return '-' if not array.size else 'not finite', '-'
    return f'{mean:.6f}', f'{float(np.std(array, dtype=np.float64)):.6f}'


def _vocabulary(path):
    if path is None:
        return 'none found'
    try:
        return f'{len(load_vocab(path))} entries in {path}'
    except UserError as e:
        return f'broken: {e}'


def _texts(folder):
    try:
        settings = folder_tokenizer(folder).settings
    except UserError as e:
        return f'refused: {e}'
    return ', '.join(f'{name} {shown(value)}' for name, value in settings._asdict().items())


def _print_conversion(arguments):
    unused = [name.strip() for name in arguments.allow_unused.split(',')]
    places = arguments.config, arguments.vocab
    check = output_check() if arguments.to == 'huggingface' else None
    done = convert(resolve(arguments.source), arguments.target, arguments.to, *places, unused, check)
    print(f'{arguments.target}: {len(done.written)} tensors written as {arguments.to} and read back bit by bit.')
    if done.checked:
        print(f'checked: {"; ".join(done.checked)}')
    for note in done.notes:
        print(f'note: {note}')
    state = [name for name in done.left_out if is_training_state(name)]
    left_out = [name for name in done.left_out if name not in state]
    if state:
        print(f'left out, state of the optimizer: {_few(state, _FEW)}')
    if left_out:
        print(f'left out, no place in this format: {_few(left_out, _LISTED)}')


def _few(names, count):
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(one_line(name, QUOTED) for name in names[:count]) + more


def main(argv=None, prog=None):
    """Run one command."""
    arguments = make_parser(prog).parse_args(argv)
    if arguments.command == 'inspect':
        for line in inspect_lines(resolve(arguments.path)):
            print(line)
    else:
        _print_conversion(arguments)


if __name__ == '__main__':
    with one_line_errors():
        main()
