"""The settings of `python -m ernie.pretrain.build_data`, checked before any work."""

import math
import os
from dataclasses import MISSING, asdict, dataclass
from typing import Self

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain.building.documents import BOUNDARIES
from ernie.pretrain.building.engines import ENGINES
from ernie.pretrain.building.lexers import LEXERS
from ernie.pretrain.tasks import TASKS
from ernie.pretrain.tasks.sample_builder import SampleSettings
from ernie.settings.base import GivenSettings, Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.errors import UsageError, bad_input, did_you_mean

_D = SampleSettings._field_defaults
# What the samples do not depend on.
_FREE = ('given', 'output', 'processes', 'engine', 'overwrite', 'word_mask_probability')


@dataclass(frozen=True, kw_only=True)
class InputSettings(Settings, title='input'):
    input: tuple[str, ...] = setting((), 'Text (a paragraph a line, a blank line between documents) or JSON lines.')
    dialogue_input: tuple[str, ...] = setting((), 'The same with a dialogue a line, TAB between turns.')
    ir_input: tuple[str, ...] = setting((), 'TSV or CSV with the columns query, title, label (0, 1, 2).')
    text_field: str = setting('text', 'Field of a JSON line that holds the text.')
    id_field: str = setting('', 'Field of a JSON line that names the document: one name is never held out in part.')
    new_document: str = setting(
        'blank', 'Before a document: blank lines, or titles too.', choices=BOUNDARIES, listed=True
    )
    half_width: bool = setting(False, 'Make full-width letters and digits those of ASCII.')


@dataclass(frozen=True, kw_only=True)
class SampleChoices(Settings, title='samples'):
    tasks: tuple[str, ...] = setting(('knowledge_masking', 'next_sentence'), f'Of {", ".join(TASKS)}.', joined=True)
    max_seq_len: int = setting(_D['max_seq_len'], 'Tokens of the longest sample, [CLS] and [SEP] included.', least=8)
    short_seq_prob: float = setting(_D['short_seq_prob'], 'Share of samples of a shorter length.', least=0, most=1)
    negative_share: float = setting(_D['negative_share'], 'Share of pairs with a replaced part.', least=0, most=1)
    one_sentence_pairs: bool = setting(_D['one_sentence_pairs'], 'next_sentence: of single sentences, not of runs.')
    max_pieces: int = setting(_D['max_pieces'], 'sentence_reordering: 1 to so many pieces.', least=2)
    random_share: float = setting(_D['random_share'], 'ir_relevance: titles of another query.', least=0, below=1)
    joint_masking: bool = setting(_D['joint_masking'], 'Mask samples of all tasks, not only those of 1.0.')
    markers: str = setting('', 'discourse_relation: JSON file {relation: [marker, ...]} in place of our own lists.')


@dataclass(frozen=True, kw_only=True)
class CutSettings(Settings, title='tokens'):
    vocab_path: str = setting('./config/vocab.txt', 'Vocabulary.')
    do_lower_case: bool = setting(True, 'Lower-case the text and strip accents.')
    lexer: str = setting('none', 'Makes words, phrases and entities units of masking.', choices=LEXERS, listed=True)


@dataclass(frozen=True, kw_only=True)
class OutputSettings(Settings, title='output'):
    output: str = setting(MISSING, 'Folder for shards, file lists, manifest and report.')
    shards: int = setting(0, 'Number of shards (the input is read twice); 0: by --shard_characters.', least=0)
    shard_characters: int = setting(20_000_000, 'Characters of input in a shard.', least=1)
    valid_share: float = setting(0.0, 'Share of the documents that is held out for validation.', least=0, below=1)
    word_mask_probability: float = setting(
        1.1, 'Written into the file lists; above 1: always words.', least=0, below=math.inf
    )
    seed: int = setting(1, 'Of everything drawn at random.', least=0)
    processes: int = setting(0, 'Processes; the samples do not depend on it. 0: one a processor.', least=0)
    engine: str = setting('local', 'Where they run.', choices=ENGINES, listed=True)
    overwrite: bool = setting(False, 'Delete shards in --output that were made with other settings.')


@dataclass(frozen=True, kw_only=True)
class BuildSettings(InputSettings, SampleChoices, CutSettings, OutputSettings, GivenSettings):
    """Makes pre-training samples out of raw text. What is finished is not made again after a kill.

    `strip_accents` and `tokenize_chinese_chars` are no flags: the folder of the vocabulary says them.
    """

    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    def of_samples(self):
        """What the samples depend on, as a JSON-able dict."""
        values = {name: value for name, value in asdict(self).items() if name not in _FREE}
        for name in ('strip_accents', 'tokenize_chinese_chars'):
            if values[name] == getattr(BuildSettings, name):  # folders made before there were others stay as they are
                del values[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def checked(self) -> Self:
        """Refuses values that cannot be, and tasks without their input. Raises `UsageError`."""
        settings = super().checked()
        if self.max_pieces > 6 or 2 * self.max_pieces + 1 > self.max_seq_len:
            raise UsageError(f'--max_pieces {self.max_pieces}: must be at most 6, and leave room in --max_seq_len.')
        unknown = [name for name in self.tasks if name not in TASKS]
        if unknown or not self.tasks:
            near = did_you_mean(unknown[0], TASKS) if unknown else ''
            raise UsageError(f'--tasks {",".join(self.tasks)}: expected some of {", ".join(TASKS)}.{near}')
        inputs = {'documents': ('input', self.input), 'dialogues': ('dialogue_input', self.dialogue_input)}
        inputs['queries'] = ('ir_input', self.ir_input)
        tasks = {kind: [name for name in self.tasks if TASKS[name].sample_builder.source == kind] for kind in inputs}
        for kind, (flag, paths) in inputs.items():
            # The samples of other tasks may be masked, too, so knowledge_masking beside them needs no input of its own.
            if tasks[kind] and not paths and not (tasks[kind] == ['knowledge_masking'] and len(self.tasks) > 1):
                raise UsageError(f'--tasks {",".join(tasks[kind])} needs --{flag}.')
        for kind, (flag, paths) in inputs.items():
            if paths and not tasks[kind]:
                raise UsageError(f'--{flag} is of no use to --tasks {",".join(self.tasks)}.')
        for path in (*self.input, *self.dialogue_input):
            if os.path.realpath(self.output).startswith(os.path.realpath(path) + os.sep):
                raise UsageError(f'--output {self.output} lies inside the input {path}: its shards would become input.')
        capitals = [name for name in self.tasks if TASKS[name].sample_builder.reads_capitals]
        if capitals and not self.do_lower_case:
            raise UsageError(f'--tasks {capitals[0]} needs --do_lower_case true: the input must not show the capitals.')
        if self.markers and not os.path.isfile(self.markers):
            raise UsageError(f'--markers {self.markers}: no such file.')
        return settings


def parse(argv=None, prog=None):
    """Flags -> `BuildSettings`, with the letter case of the vocabulary's folder where no flag says it.

    Raises:
        UsageError: an unknown flag or a value that cannot be.
    """
    parser = SettingsParser(BuildSettings, 'build-data', prog=prog or 'python -m ernie.pretrain.build_data')
    settings = parser.parse_args(argv)
    asked = settings.do_lower_case if settings.gave('do_lower_case') else None
    found = folder_tokenizer(os.path.dirname(settings.vocab_path) or '.')
    if found.files:
        raise bad_input(settings.vocab_path, f'the vocabulary of {found.settings.tokenizer}', 'one of FullTokenizer')
    tokenizer = found.with_flags(do_lower_case=asked)
    cut = {name: getattr(tokenizer, name) for name in ('do_lower_case', 'strip_accents', 'tokenize_chinese_chars')}
    return settings.replace(**cut).checked()
