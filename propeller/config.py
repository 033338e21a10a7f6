"""Settings from the command line, from files and from the environment.

A setting is a dictionary, written as a Python literal (comments, trailing commas and arithmetic allowed) or as JSON.
The text is parsed, never executed.
"""

import argparse
import ast
import operator
import os
import warnings
from collections import Counter
from typing import Any

from propeller.args import boolean
from propeller.errors import UsageError, UserError, quoted
from propeller.graph import require_cuda
from propeller.inputs import parse_json, read_text
from propeller.types import HParams, RunConfig

_NAMES = {'null': None, 'true': True, 'false': False}
_BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Any] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
# A short text such as 9**9**9 must not keep the machine busy; no honest setting is longer than that.
_MAX_INTEGER_BITS = 1024
_MAX_QUOTE = 200
_MAX_SETTING = 1 << 16


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser that already knows `--run_config` and `--hparam`; a program may add its own flags.

    It takes what `finetune_launch.py` adds to a command line too: `--is_distributed` and `--resume`, which say what a
    `Learner` does in any case, and `--use_cuda`: with false GPUs are hidden from this process. A program that has such
    a flag of its own has it for itself.

    Args:
        name: of the program.
        kwargs: of `argparse.ArgumentParser`.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(prog=name, **{'conflict_handler': 'resolve', **kwargs})
        self.add_argument(
            '--run_config', default=None, metavar='FILE_OR_TEXT', help='run settings: a file, or the dictionary itself'
        )
        self.add_argument(
            '--hparam',
            nargs='*',
            action='append',
            default=None,
            metavar='FILE_OR_TEXT',
            help='hyper-parameters: files or dictionaries, merged from left to right; may be repeated',
        )
        for flag in ('--is_distributed', '--resume'):
            self.add_argument(flag, type=boolean, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self._of_launcher = self.add_argument(
            '--use_cuda', type=boolean, default=argparse.SUPPRESS, metavar='BOOL', help='run on GPU, if there is one'
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it. Raises `UserError`: `--use_cuda true` without a GPU."""
        found, unknown = super().parse_known_args(args, namespace)
        if self._of_launcher in self._actions and getattr(found, 'use_cuda', None) is not None:
            if found.use_cuda:
                require_cuda()
            else:
                os.environ['CUDA_VISIBLE_DEVICES'] = ''
        return found, unknown


def parse_runconfig(args: argparse.Namespace | None = None) -> RunConfig:
    """The `RunConfig` of `args.run_config`, or of the environment variable PROPELLER_RUNCONFIG where that is None.

    Raises:
        UsageError: neither is given, or a setting is unknown (then it is a `TypeError` too).
        UserError: the text cannot be read, or a value is impossible.
    """
    text, origin = getattr(args, 'run_config', None), '--run_config'
    if text is None:
        text, origin = os.environ.get('PROPELLER_RUNCONFIG'), 'PROPELLER_RUNCONFIG'
    if text is None:
        raise UsageError('no run settings: give --run_config FILE_OR_TEXT or set PROPELLER_RUNCONFIG.')
    settings = HParams.from_dict(parse_setting(text, origin))
    return RunConfig(**settings.to_dict())


def parse_hparam(args: argparse.Namespace | None = None) -> HParams:
    """The `HParams` of all values of `args.hparam`, later ones winning, or of PROPELLER_HPARAMS where none is given.

    Raises:
        UsageError: neither is given (a bare `--hparam` is: it gives an empty `HParams`).
        UserError: a text cannot be read.
    """
    groups = getattr(args, 'hparam', None)
    if groups is None:
        text = os.environ.get('PROPELLER_HPARAMS')
        if text is None:
            raise UsageError('no hyper-parameters: give --hparam FILE_OR_TEXT ... or set PROPELLER_HPARAMS.')
        return HParams.from_dict(parse_setting(text, 'PROPELLER_HPARAMS'))
    result = HParams()
    for text in (text for group in groups for text in group):
        result.join(HParams.from_dict(parse_setting(text, '--hparam')))
    return result


def parse_file(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """The dictionary in a UTF-8 file, as a Python literal or JSON; a `UserError` names the file and the line."""
    return parse_text(read_text(path, _MAX_SETTING, 'a dictionary', data=True), origin=str(path))


def parse_text(text: str, origin: str = 'settings') -> dict[Any, Any]:
    """The dictionary that `text` spells.

    Args:
        text: a Python dictionary literal or a JSON object.
        origin: where the text came from, for errors.

    Raises:
        UserError: `ORIGIN:LINE:COLUMN: ...` with the text (or its line, if long) quoted.
    """
    try:
        # JSON first: its escapes \/ and \ud83d\ude00 mean something else in Python.
        value = parse_json(text, origin, 'a dictionary', finite=False, bits=_MAX_INTEGER_BITS)
    except UserError as e:
        if not e.found.startswith('bad JSON'):
            raise
        value = _parse_literal(text, origin)
    if not isinstance(value, dict):
        raise UserError(f'{origin}: found {type(value).__name__}, expected a dictionary: {_shorten(text)!r}')
    return value


def parse_setting(text: str, origin: str) -> dict[Any, Any]:
    """The dictionary of a path or of a text.

    Args:
        text: path of a file, or what `parse_text` takes.
        origin: the flag or variable that the text came from, for errors.
    Raises:
        UserError: it is neither.
    """
    if os.path.isfile(text):
        return parse_file(text)
    if not text.strip():
        raise UserError(f'{origin}: found nothing, expected a file or a dictionary.')
    if '{' not in text and '\n' not in text:
        raise UserError(f'{origin}: found {_shorten(text)!r}, expected an existing file or a dictionary {{...}}.')
    return parse_text(text, origin)


def _parse_literal(text, origin):
    try:
        return _evaluate(_syntax_tree(text, origin), text, origin)
    except (RecursionError, MemoryError) as e:
        raise UserError(f'{origin}: nested too deeply: {_shorten(text)!r}') from e


def _syntax_tree(text, origin):
    """The expression tree of `text`; lines count from 2 because of the opening parenthesis."""
    with warnings.catch_warnings():
        # An unknown escape such as '\d' in a path is no concern of whoever set the path.
        warnings.simplefilter('ignore')
        try:
            # Inside parentheses, indentation and comments before the dictionary are allowed.
            return ast.parse(f'(\n{text}\n)', mode='eval').body
        except (SyntaxError, ValueError) as wrapped:
            error, shift = wrapped, 1
            try:
                # The error of the bare text does not speak of the parenthesis that is ours.
                ast.parse(text, mode='eval')
            except IndentationError:
                pass
            except (SyntaxError, ValueError) as bare:
                error, shift = bare, 0
    if not isinstance(error, SyntaxError):
        raise UserError(f'{origin}: {error}: {_shorten(text)!r}')
    raise _at(origin, text, (error.lineno or 1) - shift, error.offset or 1, error.msg) from error


def _evaluate(node, text, origin):
    """The value of a tree of literals and arithmetic."""
    if isinstance(node, ast.Constant) and not isinstance(node.value, complex) and node.value is not Ellipsis:
        return node.value
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        kind: Any = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        values = [_evaluate(item, text, origin) for item in node.elts]
        return _guarded(lambda: kind(values), node, text, origin)
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_evaluate(key, text, origin) for key in node.keys]
        values = [_evaluate(value, text, origin) for value in node.values]
        found = _guarded(lambda: dict(zip(keys, values, strict=True)), node, text, origin)
        if len(found) < len(keys):
            twice = Counter(keys).most_common(1)[0][0]
            raise _at_node(origin, text, node, f'{quoted(twice)} twice in one dictionary')
        return found
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        operands = [_number(side, text, origin) for side in (node.left, node.right)]
        return _guarded(lambda: _arithmetic(_BINARY[type(node.op)], *operands), node, text, origin)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_number(node.operand, text, origin))
    raise _at_node(origin, text, node, f'{ast.unparse(node)[:60]!r} is neither a literal nor arithmetic')


def _number(node, text, origin):
    value = _evaluate(node, text, origin)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _at_node(origin, text, node, f'arithmetic with {type(value).__name__}, expected numbers')
    return value


def _arithmetic(operation, left, right):
    is_integer_power = operation is operator.pow and isinstance(left, int) and isinstance(right, int)
    if is_integer_power and left.bit_length() * max(right, 0) > _MAX_INTEGER_BITS:
        raise OverflowError('the power is too large')
    value = operation(left, right)
    if isinstance(value, complex):
        raise ValueError('the result is a complex number')
    return value


def _guarded(compute, node, text, origin):
    try:
        return compute()
    except ZeroDivisionError as e:  # Python's own text is "float modulo" in some versions
        raise _at_node(origin, text, node, 'division by zero') from e
    except (ArithmeticError, TypeError, ValueError) as e:
        raise _at_node(origin, text, node, str(e)) from e


def _at_node(origin, text, node, what):
    lines = text.splitlines()
    line = node.lineno - 1
    # The tree counts columns in bytes of UTF-8.
    before = lines[line - 1].encode()[: node.col_offset].decode() if line <= len(lines) else ''
    return _at(origin, text, line, len(before) + 1, what)


def _at(origin, text, line, column, what):
    """The error at a 1-based line and column of `text`, quoting the text, or just its line where it is long."""
    lines = text.splitlines()
    line = min(max(line, 1), max(len(lines), 1))
    shown = text.strip() if len(text) <= _MAX_QUOTE else (lines[line - 1].strip() if lines else '')
    return UserError(f'{origin}:{line}:{column}: {what} in {_shorten(shown)!r}')


def _shorten(text):
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 3] + '...'
