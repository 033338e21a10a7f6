"""`ernie list`, `ernie download`, `python -m ernie.zoo`."""

from pathlib import Path

from ernie.zoo.bundles import BUNDLES, MAX_UNPACKED_GB, download
from ernie.zoo.cache import cache_folder
from ernie.zoo.encoders import ENCODERS, is_here
from ernie.zoo.resolver import resolve
from propeller.args import Parser


def print_list(folder=None):
    """One line for each model and data set: name, whether it is here, what it is, where it comes from."""
    folder = Path(folder or cache_folder())
    width = max(map(len, (*ENCODERS, *BUNDLES)))
    for encoder in ENCODERS.values():
        state = 'here' if is_here(encoder.package) else '-'
        print(f'{encoder.name:{width}}  {state:4}  {encoder.about:28}  {encoder.package.title}')
    for bundle in BUNDLES.values():
        state = 'here' if (folder / bundle.name).is_dir() else '-'
        print(f'{bundle.name:{width}}  {state:4}  {bundle.about:28}  {bundle.url}')


def _parser(prog):
    parser = Parser(prog=prog or 'python -m ernie.zoo', description='The released models and data.')
    commands = parser.add_subparsers(dest='command', required=True)
    where = {'metavar': 'FOLDER', 'help': 'in place of $ERNIE_HOME or ~/.cache/ernie/zoo'}
    commands.add_parser('list', help='names, and which are here').add_argument('--dir', **where)
    get = commands.add_parser('download', help='fetch and unpack one; prints its folder')
    get.add_argument('name', metavar='NAME')
    get.add_argument('--dir', **where)
    get.add_argument('--url-base', metavar='URL', help='folder on another server that has the archive')
    limit = 'refuse what unpacks to more (default: %(default)s)'
    get.add_argument('--max_unpacked_gb', type=float, default=MAX_UNPACKED_GB, metavar='GB', help=limit)
    return parser


def main(argv=None, prog=None):
    """The program."""
    args = _parser(prog).parse_args(argv)
    if args.command == 'list':
        print_list(args.dir)
    elif args.name in ENCODERS:
        print(resolve(args.name))
    else:
        print(download(args.name, args.dir, args.url_base, args.max_unpacked_gb))
