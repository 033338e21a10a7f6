"""The page of `benchmark.report`."""

import platform

from benchmark.report.works import LATENCY, PREDICT
from benchmark.served import machine
from ernie.inference.processor import processor_flags
from propeller import __version__

PYTORCH = 'PyTorch'
_HEAD = ('', 'precision', 'with', 'here', PYTORCH, 'times', 'GB', f'GB of {PYTORCH}')


def page_lines(found, args):
    """Lines of Markdown.

    Args:
        found: dict `Work` -> dict (side, precision) -> dict: `rate` or `ms`, `gigabytes`, of exports `apart`.
        args: `threads`, `rounds`, `rival_python`.
    """
    flags = processor_flags()
    yield from (
        '# Speed on this machine',
        '',
        f'{machine()}, {args.threads} of them used; {", ".join(flags) if flags else "flags of the processor unknown"}; '
        f'{platform.system()}, Python {platform.python_version()}, {_paddle()}, this suite {__version__}.',
        '',
        f'Tokens a second without padding, medians of {args.rounds} runs in turns.'
        + ('' if args.rival_python else ' Without `--rival_python` there is nothing beside them.'),
    )
    for title, kinds in (('Training', None), ('Prediction', PREDICT), ('One text at a time: milliseconds', LATENCY)):
        works = [w for w in found if w.kind == kinds or (kinds is None and w.kind not in (PREDICT, LATENCY))]
        if works:
            yield from (
                '',
                f'## {title}',
                '',
                *_table(_HEAD, [row for work in works for row in _rows(work, found[work])]),
            )
    apart = {}
    for sides in found.values():
        for (_, precision), measured in sides.items():
            if 'apart' in measured:
                apart[precision] = max(apart.get(precision, 0), measured['apart'])
    if apart:
        text = ', '.join(f'{most:.1e} ({precision})' for precision, most in apart.items())
        yield from ('', f'Probabilities differ from those of Paddle in float32 by at most {text}.')


def _rows(work, sides):
    for (side, precision), here in sides.items():
        if side == PYTORCH:
            continue
        rival = sides.get((PYTORCH, 'bf16' if precision == 'int8' else precision))
        times = ''
        if rival:
            times = f'{rival["ms"] / here["ms"]:.2f}' if 'ms' in here else f'{here["rate"] / rival["rate"]:.2f}'
        yield (work.title, precision, side, _speed(here), _speed(rival), times, _memory(here), _memory(rival))


def _speed(measured):
    if not measured:
        return ''
    return f'{measured["ms"]:.2f}' if 'ms' in measured else f'{measured["rate"]:,.0f}'


def _memory(measured):
    return f'{measured["gigabytes"]:.2f}' if measured else ''


def _table(names, rows):
    return [f'| {" | ".join(cells)} |' for cells in (names, ['---'] * len(names), *rows)]


def _paddle():
    from importlib import metadata

    for name in ('paddlepaddle', 'paddlepaddle-gpu'):
        try:
            return f'{name} {metadata.version(name)}'
        except metadata.PackageNotFoundError:
            continue
    return 'no PaddlePaddle'
