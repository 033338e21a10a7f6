"""Tokenizer settings of a model folder: read from all files that state them, written into every folder of ours.

Letter case, accents and the cutting of Chinese belong to a model like its vocabulary. Hugging Face and PaddleNLP keep
them in `tokenizer_config.json` and `tokenizer.json`, checkpoints of ours in `labels.json` too. What is said there and
would change token ids is obeyed, or refused by file and key.
"""

import json
import os
import re
from dataclasses import dataclass, field, replace

from ernie.tokenizers import TOKENIZER_CONFIG, TOKENIZERS, TokenizerSettings, subword_files
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS, load_vocab
from propeller.errors import bad_input, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

TOKENIZER_JSON = 'tokenizer.json'
ADDED_TOKENS = 'added_tokens.json'
LABELS = 'labels.json'
_FULL = 'FullTokenizer'
# Classes whose words and pieces are BERT's, of both frameworks.
_BERT_CLASSES = {
    f'{name}Tokenizer{fast}'
    for name in ('Bert', 'Ernie', 'ErnieGram', 'Electra', 'DistilBert', 'Nezha', 'RobertaChinese', 'Roberta')
    for fast in ('', 'Fast')
} | {'ErnieFastTokenizer', 'BertTokenizerLegacy'}
# Classes that say nothing: tokenizer.json does.
_GENERIC_CLASSES = ('PreTrainedTokenizerFast', 'TokenizersBackend')
_NAMED_TOKENS = {f'{token.strip("[]").lower()}_token': token for token in SPECIAL_TOKENS}
# Of ERNIE tiny: the vocabulary marks word starts, and FullTokenizer would make [UNK] of nearly all.
_SUBWORD, _SUBWORD_CHARACTERS = 'SubwordTokenizer', 'SubwordCharTokenizer'
_ERNIE_TINY = 'ErnieTinyTokenizer'  # PaddleNLP's name
# Of the models that Google published, and others after them.
_GOOGLES = re.compile(r'(?:[a-z]+_)*(cased|uncased|chinese|multilingual)_L-\d+_H-\d+_A-\d+(?:_\w+)?')
_ONLY = 'word pieces as BERT makes them; other tokenizers are not read'


@dataclass(frozen=True)
class FolderTokenizer:
    """The settings of a model folder, and which of its files says so.

    Attributes:
        settings: `TokenizerSettings`; what no file says is as in 2019.
        said_by: dict name of a setting -> path.
        files: `ernie.tokenizers.subword_files.SubwordFiles`, what ERNIE tiny's tokenizer needs; None: there are none.
        is_recorded: whether the folder says that a model was trained with these files, and none others.
        vocab_tokens: how many tokens the vocabulary of the folder had when it was written; None: it does not say.
    """

    settings: TokenizerSettings = TokenizerSettings()
    said_by: dict = field(default_factory=dict)
    files: subword_files.SubwordFiles | None = None
    is_recorded: bool = False
    vocab_tokens: int | None = None

    def make(self, vocab_path, settings=None):
        """The `Tokenizer` for a vocabulary. settings: of `with_flags`; None: those of the folder.

        Raises:
            UserError: a file is broken, or the vocabulary of the folder has lost tokens.
        """
        made = (settings or self.settings).make(vocab_path, self.files)
        if self.vocab_tokens is not None and len(made.vocab) < self.vocab_tokens:
            said_by = self.said_by['vocab_tokens']
            if os.path.dirname(os.path.abspath(vocab_path)) == os.path.dirname(os.path.abspath(said_by)):
                expected = f'{self.vocab_tokens}, as {said_by} says'
                raise bad_input(vocab_path, f'{len(made.vocab)} tokens', expected, advice='Copy the whole file again.')
        return made

    def with_files(self, model=None, words=None):
        """The same with the files of `--sentence_piece_model` and `--word_dict` where the folder has none.

        Raises:
            UsageError: one of the two is missing.
            UserError: a file cannot be read; the folder has others, or another tokenizer: they belong to the model.
        """
        files = subword_files.of_flags(model, words)
        if files is None:
            return self
        if self.files is not None:
            (model, words), (kept_model, kept_words) = files.sums().values(), self.files.sums().values()
            differ = None
            if model != kept_model:
                differ = files.model, 'another file', self.files.model
            elif words != kept_words and files.words_sum() != self.files.words_sum():
                differ = files.words, 'other words', self.files.words
            if differ:
                path, found, kept = differ
                expected = f'{kept}, which the model was trained with'
                raise bad_input(path, f'{found} than there', expected, advice='Leave the two flags out.')
            return self
        if self.said_by.get('tokenizer'):
            raise bad_input(
                self.said_by['tokenizer'],
                f'the tokenizer {self.settings.tokenizer}',
                'none beside --sentence_piece_model and --word_dict',
                advice='The tokenizer belongs to the model: leave the two flags out.',
            )
        files.sums()
        settings = self.settings._replace(tokenizer=_SUBWORD)
        return replace(self, settings=settings, said_by=self.said_by | {'tokenizer': files.model}, files=files)

    def for_characters(self):
        """The same for a task whose labels stand on characters."""
        if self.settings.tokenizer != _SUBWORD:
            return self
        return replace(self, settings=self.settings._replace(tokenizer=_SUBWORD_CHARACTERS))

    def with_flags(self, **given):
        """The settings with the flags that the user gave in their place; a contradiction is told.

        given: `tokenizer`, `do_lower_case`; None where the flag was left out.

        Returns:
            `TokenizerSettings`.
        """
        asked = {name: value for name, value in given.items() if value is not None}
        self._check_subword(asked.get('tokenizer'))
        for name, value in asked.items():
            said = getattr(self.settings, name)
            if name in self.said_by and value != said:
                log.warning('--%s %s contradicts %s, which says %s; the flag holds',
                            name, shown(value), self.said_by[name], shown(said))  # fmt: skip
        return self.settings._replace(**asked)

    def _check_subword(self, asked):
        said, pair = self.settings.tokenizer, (_SUBWORD, _SUBWORD_CHARACTERS)
        if asked in (None, said) or not ('tokenizer' in self.said_by and {asked, said} & set(pair)):
            return
        if asked not in pair or said not in pair or self.is_recorded:
            raise bad_input(
                self.said_by['tokenizer'],
                f'--tokenizer {asked}',
                f'{said}, which belongs to the model',
                advice='Leave the flag out.',
            )


def shown(value):
    """A setting as flags and JSON have it."""
    return json.dumps(value) if isinstance(value, bool | None) else value


def folder_tokenizer(folder):
    """What the files of a model folder say of its tokenizer.

    | file | of |
    |---|---|
    | `labels.json`: `do_lower_case`, `tokenizer` | checkpoints of ours |
    | `tokenizer_config.json` | Hugging Face, PaddleNLP, and every folder of ours |
    | `tokenizer.json`: normalizer, pre-tokenizer, model | Hugging Face |
    | folder `subword` | ERNIE tiny, and models of ours trained from it |
    | name of the folder: `cased_L-12_H-768_A-12` | Google's BERT, where no file says it |

    Args:
        folder: path; None for no folder at all.

    Returns:
        `FolderTokenizer`.

    Raises:
        UserError: a file is broken, two of them contradict each other, or one asks for what our tokenizers do not do.
    """
    if folder is None:
        return FolderTokenizer()
    path = {name: os.path.join(folder, name) for name in (LABELS, TOKENIZER_CONFIG, TOKENIZER_JSON, ADDED_TOKENS)}
    there = {name: place for name, place in path.items() if os.path.lexists(place)}
    found = FolderTokenizer()
    if TOKENIZER_JSON in there:
        found = _add(found, _of_json(there[TOKENIZER_JSON], folder), there[TOKENIZER_JSON])
    config = read_tokenizer_config(folder)
    if config:
        said = _of_config(config, there[TOKENIZER_CONFIG], TOKENIZER_JSON in there)
        for name in said.keys() & found.said_by:
            if said[name] != getattr(found.settings, name):
                # transformers builds its tokenizer from tokenizer_config.json, too.
                log.warning('%s says %s %s, %s says otherwise; the first holds',
                            path[TOKENIZER_CONFIG], name, shown(said[name]), path[TOKENIZER_JSON])  # fmt: skip
        found = _add(found, said, there[TOKENIZER_CONFIG])
    if ADDED_TOKENS in there:
        _check_added_file(there[ADDED_TOKENS], config)
    found = _with_vocab_tokens(found, config, path[TOKENIZER_CONFIG])
    found = _with_subword(found, folder, config, path[TOKENIZER_CONFIG])
    if 'do_lower_case' not in found.said_by and LABELS not in there:
        found = _of_name(found, folder)
    return _with_labels(found, there[LABELS]) if LABELS in there else found


def _with_vocab_tokens(found, config, path):
    count = config.get('vocab_tokens')
    if count is None:
        return found
    if type(count) is not int or count < 1:
        raise bad_input(path, f'vocab_tokens {quoted(count)}', 'a whole number from 1')
    return replace(found, vocab_tokens=count, said_by=found.said_by | {'vocab_tokens': path})


def read_tokenizer_config(folder):
    """The content of `tokenizer_config.json` in a folder; {} where there is none. Raises `UserError`: it is broken."""
    path = os.path.join(folder, TOKENIZER_CONFIG)
    # transformers writes `model_max_length` 1e30 as a whole number where it does not know it.
    return read_json_object(path, bits=128) if os.path.lexists(path) else {}


def lower_case_of_name(folder):
    """The letter case of a model of Google, which it says in the name of its folder alone: `cased_L-12_H-768_A-12`.

    Returns:
        bool; None: the name says nothing.
    """
    match = _GOOGLES.fullmatch(os.path.basename(os.path.abspath(folder)))
    return match and match[1] != 'cased'


def _of_name(found, folder):
    lower = lower_case_of_name(folder)
    return found if lower is None else _add(found, {'do_lower_case': lower}, folder)


def _with_subword(found, folder, config, path):
    """The files of ERNIE tiny's tokenizer, checked to be those that the folder was written with."""
    files, said = subword_files.in_folder(folder), found.settings.tokenizer
    if files is None and config.get('tokenizer_class') == _ERNIE_TINY:
        files = subword_files.beside(folder)
    place = os.path.join(folder, subword_files.FOLDER)
    if said == _SUBWORD and files is None:
        raise bad_input(place, 'no such folder', f'the files of {_SUBWORD}, which {path} names')
    if files is None:
        return found
    if 'tokenizer' not in found.said_by:
        found = _add(found, {'tokenizer': _SUBWORD}, place)
    elif said not in (_SUBWORD, _SUBWORD_CHARACTERS):
        raise bad_input(
            found.said_by['tokenizer'],
            f'the tokenizer {said}',
            f'{_SUBWORD}, whose files lie in {place}',
            advice='Remove the one that is wrong.',
        )
    recorded = config.get('subword')
    if recorded is not None:
        _check_sums(recorded, files, path)
    return replace(found, files=files, is_recorded=recorded is not None)


def _check_sums(recorded, files, path):
    sums = files.sums()
    model, words = sums
    if not (isinstance(recorded, dict) and model in recorded and recorded.keys() & {words, subword_files.WORDS}):
        raise bad_input(path, f'subword {quoted(recorded)}', f'the sums of {model} and {words}')
    if (
        recorded.get(words) != sums[words] and subword_files.WORDS in recorded
    ):  # the same words in a file of another form
        sums[subword_files.WORDS] = files.words_sum()
        words = subword_files.WORDS
    for name, place, what in ((model, files.model, 'file'), (words, files.words, 'words')):
        if recorded.get(name) != sums[name]:
            raise bad_input(
                place,
                f'SHA-256 {sums[name][:12]}...',
                f'{quoted(str(recorded.get(name))[:12])}..., as {path} says: '
                f'the {what} that the model was trained with',
            )


def _add(found, said, path):
    settings = found.settings._replace(**said)
    return replace(found, settings=settings, said_by=found.said_by | dict.fromkeys(said, path))


def _with_labels(found, path):
    """What a checkpoint of ours says itself; the file beside it says the same."""
    values = read_json_object(path)
    said = {name: values[name] for name in ('tokenizer', 'do_lower_case') if name in values}
    kinds = {'tokenizer': (lambda v: v in tuple(TOKENIZERS), f'one of {", ".join(TOKENIZERS)}'),
             'do_lower_case': (lambda v: isinstance(v, bool), 'true or false')}  # fmt: skip
    for name, value in said.items():
        if not kinds[name][0](value):
            raise bad_input(path, f'{name} {quoted(value)}', kinds[name][1])
        other = getattr(found.settings, name)
        if name in found.said_by and value != other:
            raise bad_input(
                path,
                f'{name} {shown(value)}',
                f'{shown(other)}, as {found.said_by[name]} says',
                advice='Both belong to the model: mend the one that is wrong.',
            )
    return _add(found, said, path)


# ------------------------------------------------------------ tokenizer_config.json


def _of_config(values, path, has_json):
    """The settings that `tokenizer_config.json` states, a dict."""
    said = {}
    kind = values.get('tokenizer_class')
    if kind is not None and not isinstance(kind, str):
        raise bad_input(path, f'tokenizer_class {quoted(kind)}', 'the name of a class')
    if kind in TOKENIZERS:
        said['tokenizer'] = kind
    elif kind == _ERNIE_TINY:
        said['tokenizer'] = _SUBWORD
    elif kind in _BERT_CLASSES or (kind in _GENERIC_CLASSES and has_json):
        said['tokenizer'] = _FULL
    elif kind is not None:
        raise bad_input(path, f'tokenizer_class {quoted(kind)}', f'BertTokenizer or ErnieTokenizer: {_ONLY}')
    for name in ('do_lower_case', 'strip_accents', 'tokenize_chinese_chars'):
        if name not in values or (values[name] is None and name != 'strip_accents'):
            continue
        if not isinstance(values[name], bool) and values[name] is not None:
            raise bad_input(path, f'{name} {quoted(values[name])}', 'true or false')
        said[name] = values[name]
    if values.get('do_basic_tokenize') is False:
        raise bad_input(path, 'do_basic_tokenize false', 'true: texts are always cut at punctuation')
    never = [token for token in _tokens(values.get('never_split')) if token not in SPECIAL_TOKENS]
    if never:
        raise bad_input(path, f'never_split {quoted(never)}', 'nothing: all words are cut in the same way')
    for name, expected in _NAMED_TOKENS.items():
        token = _content(values.get(name))
        if token is not None and token != expected:
            raise bad_input(path, f'{name} {quoted(token)}', expected)
    added = values.get('added_tokens_decoder')
    _check_added(added.values() if isinstance(added, dict) else (), path)
    return said


def _tokens(value):
    return [_content(token) for token in value] if isinstance(value, list) else []


def _content(token):
    """The text of a token, which may stand as an object; None for none, and what is no text as its `repr`."""
    text = token.get('content') if isinstance(token, dict) else token
    return text if text is None or isinstance(text, str) else quoted(text)


def _check_added(tokens, path):
    """Special tokens are cut like other text, which ours always were; words that were added would become pieces."""
    tokens = [token for token in tokens if isinstance(token, dict) and _content(token) not in SPECIAL_TOKENS]
    words = [_content(token) for token in tokens if not token.get('special')]
    if words:
        raise _added_words(path, words)
    if tokens:
        log.warning('%s: special tokens that are cut like any other text here: %s',
                    path, quoted(' '.join(str(_content(token)) for token in tokens)))  # fmt: skip


def _added_words(path, words):
    return bad_input(
        path,
        f'added tokens {quoted(words)}',
        'none beside the vocabulary',
        advice='Our tokenizers would cut them into pieces; take them out of the file if that may be.',
    )


def _check_added_file(path, config):
    special = [*SPECIAL_TOKENS, *_tokens(config.get('additional_special_tokens'))]
    decoder = config.get('added_tokens_decoder')
    if isinstance(decoder, dict):
        special += _tokens(list(decoder.values()))
    special = {token for token in special if isinstance(token, str)}
    words = [token for token in read_json_object(path) if token not in special]
    if words:
        raise _added_words(path, words)


# ------------------------------------------------------------ tokenizer.json


def _of_json(path, folder):
    """The settings that `tokenizer.json` states, a dict."""
    values = read_json_object(path)
    model, normalizer = _part(values, 'model'), _part(values, 'normalizer')
    if model.get('type', 'WordPiece') != 'WordPiece':
        raise bad_input(path, f'model.type {quoted(model["type"])}', f'WordPiece: {_ONLY}')
    if normalizer.get('type') != 'BertNormalizer':
        raise bad_input(path, f'normalizer {quoted(normalizer.get("type"))}', 'BertNormalizer')
    cutting = _part(values, 'pre_tokenizer').get('type')
    if cutting != 'BertPreTokenizer':
        raise bad_input(path, f'pre_tokenizer {quoted(cutting)}', 'BertPreTokenizer')
    fixed = {'model.unk_token': '[UNK]', 'model.continuing_subword_prefix': '##',
             'model.max_input_chars_per_word': 100, 'normalizer.clean_text': True}  # fmt: skip
    for key, expected in fixed.items():
        part, name = key.split('.')
        found = _part(values, part).get(name, expected)
        if found != expected:
            raise bad_input(path, f'{key} {quoted(found)}', shown(expected))
    _check_template(values.get('post_processor'), path)
    added = values.get('added_tokens')
    _check_added(added if isinstance(added, list) else (), path)
    _check_same_vocabulary(path, os.path.join(folder, 'vocab.txt'))
    said = {'tokenizer': _FULL}
    for name, key in (('do_lower_case', 'lowercase'), ('tokenize_chinese_chars', 'handle_chinese_chars')):
        if not isinstance(normalizer.get(key, True), bool):
            raise bad_input(path, f'normalizer.{key} {quoted(normalizer[key])}', 'true or false')
        said[name] = normalizer.get(key, True)
    said['strip_accents'] = normalizer.get('strip_accents')
    if not isinstance(said['strip_accents'], bool | None):
        raise bad_input(path, f'normalizer.strip_accents {quoted(said["strip_accents"])}', 'true, false or null')
    return said


def _part(values, name):
    part = values.get(name)
    return part if isinstance(part, dict) else {}


def _check_template(processor, path):
    """Around a text stand [CLS] and [SEP], as ours are."""
    if processor is None:
        return
    kind = processor.get('type') if isinstance(processor, dict) else processor
    if kind == 'BertProcessing':
        tokens = [_first(processor.get(name)) for name in ('cls', 'sep')]
    elif kind == 'TemplateProcessing':
        single = processor.get('single')
        entries = single if isinstance(single, list) else []
        tokens = [_part(entry, 'SpecialToken').get('id') for entry in entries if isinstance(entry, dict)]
        tokens = [token for token in tokens if token is not None]
    else:
        raise bad_input(path, f'post_processor {quoted(kind)}', 'TemplateProcessing or BertProcessing')
    if tokens != ['[CLS]', '[SEP]']:
        raise bad_input(path, f'a post_processor with {quoted(tokens)}', '[CLS] before a text and [SEP] behind it')


def _first(value):
    return value[0] if isinstance(value, list) and value else None


def _check_same_vocabulary(path, beside):
    if not os.path.lexists(beside):
        return
    ours, theirs = load_vocab(beside), load_vocab(path)
    for token in (*ours, *theirs):
        if ours.get(token) != theirs.get(token):
            raise bad_input(
                path,
                f'id {theirs.get(token)} for {quoted(token)}',
                f'{ours.get(token)}, as in {beside}',
                advice='Both belong to the model: remove the one that is wrong.',
            )
