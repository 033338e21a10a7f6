"""`ernie completion bash|zsh|fish`: a script that completes verbs, flags and their values, made from the parsers."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from ernie.settings.fields import described
from propeller.args import Parser, boolean
from propeller.errors import UsageError

SHELLS = ('bash', 'zsh', 'fish')
_ADVICE = {
    'bash': 'ernie completion bash > ~/.local/share/bash-completion/completions/ernie',
    'zsh': 'ernie completion zsh > a file _ernie in a folder of $fpath',
    'fish': 'ernie completion fish > ~/.config/fish/completions/ernie.fish',
}


class Words(NamedTuple):
    """What can follow a verb.

    flags: dict `--flag` -> its values: a tuple of words, () for anything and files, None where it takes none.
    places: words that may stand without a flag; (): files.
    about: dict `--flag` -> what it is, a sentence.
    """

    flags: dict
    places: tuple
    about: dict


class _Found(BaseException):
    """Carries the parser of a verb out of its program, before anything is done."""


def parser_of(place, first, prog):
    """The `argparse` parser of a verb. place: a function of (argv, prog). first: the arguments that it begins with.

    Raises:
        UsageError: it has none.
    """

    def found(parser, *_, **__):
        raise _Found(parser)

    parse, argparse.ArgumentParser.parse_known_args = argparse.ArgumentParser.parse_known_args, found
    try:
        place([*first, '--help'], prog)
    except _Found as e:
        parser = e.args[0]
    else:
        raise UsageError(f'{prog}: has no flags.')
    finally:
        argparse.ArgumentParser.parse_known_args = parse
    for word in first:
        parser = next(a.choices[word] for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return parser


def words_of(parser):
    """`Words` of a parser."""
    flags, about, places = {}, {}, []
    settings = getattr(parser, 'settings', None)
    choices = {name: one.description.allowed() for name, one in described(settings).items()} if settings else {}
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith('--')]
        if not action.option_strings:
            places += list(action.choices or ())
        for name in names:
            flags[name] = choices.get(action.dest) or _values(action)
            about[name] = (action.help or '').split('. ')[0].rstrip('.')
    return Words(flags, tuple(map(str, places)), about)


def _values(action):
    if action.nargs == 0:
        return None
    if action.choices:
        return tuple(map(str, action.choices))
    return ('true', 'false') if action.type is boolean else ()


def script(shell, verbs, commands):
    """The script for a shell.

    Args:
        shell: of `SHELLS`.
        verbs: dict name of a verb (of one or two words) -> `Words`.
        commands: dict name -> a line about it.
    """
    return {'bash': _bash, 'zsh': _zsh, 'fish': _fish}[shell](verbs, commands)


def _first_words(verbs):
    return list(dict.fromkeys(name.split()[0] for name in verbs))


def _second_words(verbs):
    """dict first word -> the words that may come second."""
    found = {}
    for name in verbs:
        first, _, second = name.partition(' ')
        if second:
            found.setdefault(first, []).append(second)
    return found


class _Commands(NamedTuple):
    """How a shell says it. words: function (words joined by spaces) -> the command that completes them. files: the
    one for files. current: the test for a word that begins with a dash.
    """

    words: Callable
    files: str
    current: str


def _two_words(verbs, second):
    """The branch that takes two words for a verb. second: how the shell names the second one."""
    both = '|'.join(f'"{first} {word}"' for first, words in _second_words(verbs).items() for word in words)
    return f'case "$verb {second}" in {both}) verb="$verb {second}" ;; esac'


def _values_and_verbs(verbs, how):
    """Lines: values where the last word is a flag, else flags or what stands without one. how: `_Commands`."""
    values = {}
    for verb, words in verbs.items():
        for flag, known in words.flags.items():
            if known is not None:
                values.setdefault(known, []).append(f'"{verb} {flag}"')
    anything = values.pop((), [])
    return [
        '    case "$verb $last" in',
        *(f'        {"|".join(places)}) {how.words(" ".join(known))}; return ;;' for known, places in values.items()),
        f'        {"|".join(anything)}) {how.files}; return ;;',
        '    esac',
        '    case "$verb" in',
        *(
            f'        "{verb}") if {how.current}; then {how.words(" ".join(words.flags))}; '
            f'else {_after(verb, words, verbs, how)}; fi ;;'
            for verb, words in verbs.items()
        ),
        '    esac',
        '}',
    ]


def _after(verb, words, verbs, how):
    """The commands for what stands without a flag."""
    known = ' '.join(words.places or _second_words(verbs).get(verb, ()))
    given = [how.words(known)] if known else []
    return '; '.join(given if words.places else [*given, how.files])


def _bash(verbs, commands):
    how = _Commands(lambda words: f'_ernie_words "{words}"', '_ernie_files', '[[ $cur == -* ]]')
    return '\n'.join(
        [
            f'# {_ADVICE["bash"]}',
            '_ernie_words() {',
            '    local word',
            '    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$cur")',
            '}',
            '_ernie_files() {',
            '    local word',
            '    compopt -o filenames 2>/dev/null',
            '    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")',
            '}',
            '_ernie() {',
            '    local cur="${COMP_WORDS[COMP_CWORD]}" last="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}"',
            '    COMPREPLY=()',
            '    if [ "$COMP_CWORD" -le 1 ]; then',
            f'        {how.words(" ".join([*_first_words(verbs), "--help", "--version"]))}',
            '        return',
            '    fi',
            '    if [ "$COMP_CWORD" -gt 2 ]; then',
            f'        {_two_words(verbs, "${COMP_WORDS[2]}")}',
            '    fi',
            '    [ "$last" = "=" ] && last="${COMP_WORDS[COMP_CWORD-2]}"',
            *_values_and_verbs(verbs, how),
            'complete -o default -F _ernie ernie',
        ]
    )


def _zsh(verbs, commands):
    about = ' '.join(_single(f'{name}:{line}') for name, line in commands.items() if ' ' not in name)
    how = _Commands(lambda words: f'compadd -- {words}', '_files', '[[ "$PREFIX" == -* ]]')
    return '\n'.join(
        [
            '#compdef ernie',
            f'# {_ADVICE["zsh"]}',
            '_ernie() {',
            '    local verb="$words[2]" last="$words[CURRENT-1]"',
            '    local -a verbs',
            '    if (( CURRENT == 2 )); then',
            f'        verbs=({about})',
            "        _describe 'verb' verbs",
            '        compadd -- --help --version',
            '        return',
            '    fi',
            f'    if (( CURRENT > 3 )); then {_two_words(verbs, "$words[3]")}; fi',
            *_values_and_verbs(verbs, how),
            'if [ "$funcstack[1]" = "_ernie" ]; then _ernie "$@"; else compdef _ernie ernie; fi',
        ]
    )


def _fish(verbs, commands):
    seconds = _second_words(verbs)
    lines = [
        f'# {_ADVICE["fish"]}',
        'function __ernie_first',
        '    test (count (commandline -opc)) -eq 1',
        'end',
        'function __ernie_verb',
        '    set -l words (commandline -opc)',
        '    test (count $words) -ge 2; or return 1',
        f'    if test (count $words) -ge 3; and contains -- "$words[2] $words[3]" '
        f'{" ".join(_single(f"{first} {word}") for first, words in seconds.items() for word in words)}',
        '        test "$words[2] $words[3]" = "$argv[1]"',
        '    else',
        '        test "$words[2]" = "$argv[1]"',
        '    end',
        'end',
        'complete -c ernie -n __ernie_first -f -l version -d "versions of ernie, Paddle and Python"',
    ]
    for name, line in commands.items():
        first, _, second = name.partition(' ')
        condition = f'__ernie_verb {first}' if second else '__ernie_first'
        lines.append(f'complete -c ernie -n {_single(condition)} -f -a {second or first} -d {_single(line)}')
    for verb, words in verbs.items():
        condition = _single(f'__ernie_verb "{verb}"')
        if words.places:
            lines.append(f'complete -c ernie -n {condition} -f -a {_single(" ".join(words.places))}')
        for flag, known in words.flags.items():
            values = '' if known is None else f' -x -a {_single(" ".join(known))}' if known else ' -r'
            told = f' -d {_single(words.about[flag])}' if words.about[flag] else ''
            lines.append(f'complete -c ernie -n {condition} -l {flag[2:]}{values}{told}')
    return '\n'.join(lines)


def _single(text):
    """Between single quotes, for any of the shells."""
    return "'" + text.replace("'", '’') + "'"


def main(argv, prog='ernie completion'):
    """Print the script. Returns the exit code.

    Raises:
        UsageError: another shell.
    """
    from pkgutil import resolve_name

    from ernie.command import VERBS

    parser = Parser(prog=prog, description=__doc__.partition(': ')[2].capitalize())
    parser.add_argument('shell', metavar='SHELL', choices=SHELLS, help='bash, zsh or fish.')
    shell = parser.parse_args(argv).shell
    verbs = {}
    for name, verb in VERBS.items():
        verbs[name] = words_of(parser_of(resolve_name(verb.place), verb.first, f'ernie {name}'))
    print(script(shell, verbs, {name: verb.about for name, verb in VERBS.items()}))
    return 0
