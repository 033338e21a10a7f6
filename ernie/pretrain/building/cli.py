"""The flags of `python -m ernie.pretrain.build_data`, checked before any work."""

import os
from dataclasses import asdict, dataclass, fields

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain.building.documents import BOUNDARIES
from ernie.pretrain.building.engines import ENGINES
from ernie.pretrain.building.lexers import LEXERS
from ernie.pretrain.tasks import TASKS
from ernie.pretrain.tasks.sample_builder import SampleSettings
from propeller.args import ArgumentGroup, Parser
from propeller.errors import UsageError

_SAMPLE_DEFAULTS = SampleSettings._field_defaults
# What the samples do not depend on.
_FREE = ('output', 'processes', 'engine', 'overwrite', 'word_mask_probability')


@dataclass(frozen=True)
class BuildSettings:
    """Values of the flags; `build_parser` documents them."""

    output: str
    input: tuple = ()
    dialogue_input: tuple = ()
    ir_input: tuple = ()
    text_field: str = 'text'
    id_field: str = ''
    new_document: str = 'blank'
    half_width: bool = False
    tasks: tuple = ('knowledge_masking', 'next_sentence')
    max_seq_len: int = _SAMPLE_DEFAULTS['max_seq_len']
    short_seq_prob: float = _SAMPLE_DEFAULTS['short_seq_prob']
    negative_share: float = _SAMPLE_DEFAULTS['negative_share']
    one_sentence_pairs: bool = _SAMPLE_DEFAULTS['one_sentence_pairs']
    max_pieces: int = _SAMPLE_DEFAULTS['max_pieces']
    random_share: float = _SAMPLE_DEFAULTS['random_share']
    joint_masking: bool = _SAMPLE_DEFAULTS['joint_masking']
    markers: str = ''
    vocab_path: str = './config/vocab.txt'
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    lexer: str = 'none'
    shards: int = 0
    shard_characters: int = 20_000_000
    valid_share: float = 0.0
    word_mask_probability: float = 1.1
    seed: int = 1
    processes: int = 0
    engine: str = 'local'
    overwrite: bool = False

    def of_samples(self):
        """What the samples depend on, as a JSON-able dict."""
        values = {name: value for name, value in asdict(self).items() if name not in _FREE}
        for name in ('strip_accents', 'tokenize_chinese_chars'):
            if values[name] == getattr(BuildSettings, name):  # folders made before there were others stay as they are
                del values[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def build_parser(prog=None):
    """The flags."""
    description = 'Makes pre-training samples out of raw text. What is finished is not made again after a kill.'
    parser = Parser(prog=prog or 'python -m ernie.pretrain.build_data', description=description)
    _input_flags(parser)
    _sample_flags(parser)
    _token_flags(parser)
    _output_flags(parser)
    return parser


def _input_flags(parser):
    d = BuildSettings
    add = ArgumentGroup(parser, 'input', 'Files, .gz or not, and folders of them.').add_arg
    add('input', str, d.input, 'Text (a paragraph a line, a blank line between documents) or JSON lines.', nargs='+')
    add('dialogue_input', str, d.dialogue_input, 'A dialogue a line, TAB between turns.', nargs='+')
    add('ir_input', str, d.ir_input, 'TSV or CSV with the columns query, title, label (0, 1, 2).', nargs='+')
    add('text_field', str, d.text_field, 'Field of a JSON line that holds the text.')
    add(
        'id_field',
        str,
        d.id_field,
        'Field of a JSON line that names the document; one name is never both trained on and held out.',
    )
    choices = {'choices': BOUNDARIES}
    add('new_document', str, d.new_document, 'What starts a document: blank lines, or headings too.', **choices)
    add('half_width', bool, d.half_width, 'Make full-width letters and digits those of ASCII.')


def _sample_flags(parser):
    d = BuildSettings
    add = ArgumentGroup(parser, 'samples', 'Which samples are made, and how.').add_arg
    add('tasks', str, ','.join(d.tasks), f'Comma-separated: {", ".join(TASKS)}.')
    add('max_seq_len', int, d.max_seq_len, 'Tokens of the longest sample, [CLS] and [SEP] included.')
    add('short_seq_prob', float, d.short_seq_prob, 'Share of samples that are made for a shorter length.')
    add('negative_share', float, d.negative_share, 'Share of pairs and dialogues with a replaced part. 0: none.')
    add('one_sentence_pairs', bool, d.one_sentence_pairs, 'next_sentence: pairs of single sentences, not of runs.')
    add('max_pieces', int, d.max_pieces, 'sentence_reordering: 1 to so many pieces.')
    add('random_share', float, d.random_share, 'ir_relevance: share of samples with the title of another query.')
    add('joint_masking', bool, d.joint_masking, 'Mask the samples of all tasks, not of knowledge_masking and 1.0 only.')
    add('markers', str, d.markers, 'discourse_relation: JSON file {relation: [marker, ...]} in place of our own lists.')


def _token_flags(parser):
    d = BuildSettings
    add = ArgumentGroup(parser, 'tokens', 'Words and their pieces.').add_arg
    add('vocab_path', str, d.vocab_path, 'Vocabulary.')
    add('do_lower_case', bool, d.do_lower_case, 'Lower-case the text and strip accents.')
    add('lexer', str, d.lexer, 'Makes words, phrases and entities units of masking.', choices=tuple(LEXERS))


def _output_flags(parser):
    d = BuildSettings
    add = ArgumentGroup(parser, 'output', 'What is written, and by whom.').add_arg
    add('output', str, None, 'Folder for shards, file lists, manifest and report.', required=True)
    add('shards', int, d.shards, 'Number of shards (the input is read twice); 0: by --shard_characters.')
    add('shard_characters', int, d.shard_characters, 'Characters of input in a shard.')
    add('valid_share', float, d.valid_share, 'Share of the documents that is held out for validation.')
    add('word_mask_probability', float, d.word_mask_probability, 'Written into the file lists; above 1: always words.')
    add('seed', int, d.seed, 'Of everything drawn at random.')
    add('processes', int, d.processes, 'Processes; the samples do not depend on it. 0: one a processor.')
    add('engine', str, d.engine, 'Where they run.', choices=ENGINES)
    add('overwrite', bool, d.overwrite, 'Delete shards in --output that were made with other settings.')


def parse(argv=None, prog=None):
    """Flags -> `BuildSettings`.

    Raises:
        UsageError: an unknown flag or a value that cannot be.
    """
    parser = build_parser(prog)
    values = vars(parser.parse_args(argv))
    asked = values['do_lower_case'] if 'do_lower_case' in parser.given(argv) else None
    tokenizer = folder_tokenizer(os.path.dirname(values['vocab_path']) or '.').with_flags(do_lower_case=asked)
    values |= tokenizer._asdict()
    values['tasks'] = tuple(name.strip() for name in values['tasks'].split(',') if name.strip())
    for name in ('input', 'dialogue_input', 'ir_input'):
        values[name] = tuple(values[name])
    settings = BuildSettings(**{field.name: values[field.name] for field in fields(BuildSettings)})
    check(settings)
    return settings


def check(settings):
    """Refuses values that cannot be, and tasks without their input.

    Raises:
        UsageError: says which flag.
    """
    s = settings
    _check_numbers(s)
    unknown = [name for name in s.tasks if name not in TASKS]
    if unknown or not s.tasks:
        raise UsageError(f'--tasks {",".join(s.tasks)}: expected some of {", ".join(TASKS)}.')
    inputs = {'documents': ('input', s.input), 'dialogues': ('dialogue_input', s.dialogue_input)}
    inputs['queries'] = ('ir_input', s.ir_input)
    tasks = {kind: [name for name in s.tasks if TASKS[name].sample_builder.source == kind] for kind in inputs}
    for kind, (flag, paths) in inputs.items():
        # The samples of other tasks may be masked, too, so knowledge_masking beside them needs no input of its own.
        if tasks[kind] and not paths and not (tasks[kind] == ['knowledge_masking'] and len(s.tasks) > 1):
            raise UsageError(f'--tasks {",".join(tasks[kind])} needs --{flag}.')
    for kind, (flag, paths) in inputs.items():
        if paths and not tasks[kind]:
            raise UsageError(f'--{flag} is of no use to --tasks {",".join(s.tasks)}.')
    for path in (*s.input, *s.dialogue_input):
        if os.path.realpath(s.output).startswith(os.path.realpath(path) + os.sep):
            raise UsageError(f'--output {s.output} lies inside the input {path}: its shards would become input.')
    capitals = [name for name in s.tasks if TASKS[name].sample_builder.reads_capitals]
    if capitals and not s.do_lower_case:
        raise UsageError(f'--tasks {capitals[0]} needs --do_lower_case true: the input must not show the capitals.')
    if s.markers and not os.path.isfile(s.markers):
        raise UsageError(f'--markers {s.markers}: no such file.')


def _check_numbers(s):
    shares = ('short_seq_prob', 'negative_share', 'valid_share', 'random_share')
    for name in shares:
        if not 0 <= getattr(s, name) <= 1:
            raise UsageError(f'--{name} {getattr(s, name)}: must be from 0 to 1.')
    for name in ('valid_share', 'random_share'):
        if getattr(s, name) == 1:
            raise UsageError(f'--{name} 1: must be below 1.')
    least = {'max_seq_len': 8, 'max_pieces': 2, 'shards': 0, 'shard_characters': 1, 'processes': 0, 'seed': 0}
    for name, value in least.items():
        if getattr(s, name) < value:
            raise UsageError(f'--{name} {getattr(s, name)}: must be at least {value}.')
    if s.max_pieces > 6 or 2 * s.max_pieces + 1 > s.max_seq_len:
        raise UsageError(f'--max_pieces {s.max_pieces}: must be at most 6, and leave room in --max_seq_len.')
    if not 0 <= s.word_mask_probability < float('inf'):
        raise UsageError(f'--word_mask_probability {s.word_mask_probability}: must be 0 or more.')
