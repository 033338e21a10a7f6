"""`ernie list`, `ernie download`, `python -m ernie.zoo`."""

from pathlib import Path

from ernie.zoo.bundles import BUNDLES, MAX_UNPACKED_GB, check_limit, download
from ernie.zoo.cache import cache_folder
from ernie.zoo.data_sets import (
    DATA_SETS,
    convert_own,
    fetch_data_set,
    fetch_split,
    known_data_set,
    reference,
    splits_here,
)
from ernie.zoo.encoders import ENCODERS, is_here
from ernie.zoo.resolver import resolve
from propeller.args import Parser
from propeller.errors import UsageError, did_you_mean, quoted


def print_list(folder=None):
    """One line for each model and data set: name, whether it is here, what it is, where it comes from."""
    folder = Path(folder or cache_folder())
    rows = [
        (encoder.name, is_here(encoder.package), encoder.about, encoder.package.title) for encoder in ENCODERS.values()
    ]
    rows += [(b.name, (folder / b.name).is_dir(), b.about, b.url) for b in BUNDLES.values()]
    _print_rows(rows)
    _print_rows([_of_data_set(d, folder) for d in DATA_SETS.values() if not d.variant_of or splits_here(d, folder)])


def _print_rows(rows):
    widths = [max(len(row[place]) for row in rows) for place in (0, 2)]
    for name, state, about, source in rows:
        shown = state if isinstance(state, str) else 'here' if state else '-'
        print(f'{name:{widths[0]}}  {shown:4}  {about:{widths[1]}}  {source}')


def _of_data_set(data_set, folder):
    here = splits_here(data_set, folder)
    state = 'here' if len(here) == len(data_set.splits) else 'part' if here else '-'
    agreement = '' if data_set.is_downloaded else ', by agreement'
    about = f'{data_set.about} ({", ".join(data_set.splits)})'
    return data_set.name, state, about, f'{data_set.home}{agreement}'


def _parser(prog):
    parser = Parser(prog=prog or 'python -m ernie.zoo', description='The released models and data.')
    commands = parser.add_subparsers(dest='command', required=True)
    where = {'metavar': 'FOLDER', 'help': 'in place of $ERNIE_HOME or ~/.cache/ernie/zoo'}
    commands.add_parser('list', help='names, and which are here').add_argument('--dir', **where)
    get = commands.add_parser('download', help='fetch and unpack one; prints its folder')
    get.add_argument('name', metavar='NAME', help='of a model or a data set; NAME:SPLIT for a split of a data set')
    get.add_argument('--dir', **where)
    get.add_argument('--url-base', metavar='URL', help='folder on another server that has the archive')
    own = 'make the data set of an archive, file or folder that you have'
    get.add_argument('--from', dest='source', metavar='PLACE', help=own)
    limit = 'refuse what unpacks to more (default: %(default)s)'
    get.add_argument('--max_unpacked_gb', type=float, default=MAX_UNPACKED_GB, metavar='GB', help=limit)
    return parser


def main(argv=None, prog=None):
    """The program."""
    args = _parser(prog).parse_args(argv)
    if args.command == 'list':
        print_list(args.dir)
        return
    named = reference(args.name)
    if args.source is not None and (not named or named.split or args.url_base is not None):
        raise UsageError(f'--from: found {quoted(args.name)}, expected the name of a data set, and no --url-base')
    if named:
        print(_data_set(args, named))
    elif args.name in ENCODERS:
        print(resolve(args.name))
    else:
        _check_name(args.name)
        print(download(args.name, args.dir, args.url_base, args.max_unpacked_gb))


def _data_set(args, named):
    """The folder of a data set, or the file of its split."""
    max_bytes = check_limit(args.max_unpacked_gb)
    if args.source is not None:
        return convert_own(named.data_set.name, args.source, args.dir, max_bytes)
    if named.split:
        return fetch_split(named.data_set.name, named.split, args.dir, args.url_base, max_bytes)
    return fetch_data_set(named.data_set.name, args.dir, args.url_base, max_bytes)


def _check_name(name):
    """Raises `UsageError`: it is none of a model or a data set; the text lists all."""
    if name in BUNDLES:
        return
    known = [*ENCODERS, *BUNDLES, *(d.name for d in DATA_SETS.values() if not d.variant_of)]
    before, _, split = name.partition(':')
    if split and known_data_set(before) is None:
        name = before
    near = did_you_mean(name, [*known, *DATA_SETS])
    raise UsageError(f'no bundle {quoted(name)} and no data set of that name; there are {", ".join(known)}.{near}')
