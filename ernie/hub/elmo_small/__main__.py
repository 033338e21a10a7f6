"""`python -m ernie.hub.elmo_small`: trains the module `elmo` in its place, or one without some texts in another."""

from pathlib import Path

from ernie.hub.elmo_small.making import EPOCHS, described, make, module_folder
from ernie.hub.reader.words import default_lexer
from propeller.args import Parser
from propeller.errors import UsageError, one_line_errors


def _parser():
    text = 'Trains the module elmo, as its first use does. A training that was ended goes on.'
    parser = Parser(prog='python -m ernie.hub.elmo_small', description=text)
    parser.add_argument('--folder', type=Path, help='make it there, not in the cache, for hub.Module(directory=...)')
    text = 'files of texts that it must not learn from, as those that will be scored: text_a and text_b of tables'
    parser.add_argument('--leave_out', nargs='+', default=[], metavar='FILE', help=text)
    parser.add_argument('--epoch', type=int, default=EPOCHS, help='passes over the texts (default: %(default)s)')
    text = 'threads of the training; 0: as many as there are cores (default: %(default)s)'
    parser.add_argument('--cpu_threads', type=int, default=0, help=text)
    return parser


def main(argv=None):
    """The program. Prints the folder."""
    from ernie.distill.texts import texts_of
    from ernie.reader.columns import ColumnNames

    parser = _parser()
    args = parser.parse_args(argv)
    changed = [
        f'--{name}' for name in ('leave_out', 'epoch', 'cpu_threads') if getattr(args, name) != parser.get_default(name)
    ]
    for name, least in (('epoch', 1), ('cpu_threads', 0)):
        if getattr(args, name) < least:
            raise UsageError(f'--{name} {getattr(args, name)}: must be at least {least}.')
    if args.folder is None:
        if changed:
            raise UsageError(f'{", ".join(changed)}: --folder is missing: the module in the cache is the same for all.')
        print(module_folder())
        return
    left_out = [text for path in args.leave_out for text in texts_of(path, ColumnNames())]
    target = args.folder.absolute()
    if not target.is_dir():
        make(target, default_lexer(), left_out, args.epoch, args.cpu_threads)
    print(described(target))
    print(target)


if __name__ == '__main__':
    with one_line_errors():
        main()
