"""A tokenizer: words between spaces, whole, in the vocabulary or unknown. A second file lists words of one meaning."""

import os
import re

from ernie.tokenizers import Tokenizer
from ernie.tokenizers.alignment import Encoded

SYNONYMS = 'synonyms.txt'


class WhitespaceTokenizer(Tokenizer):
    cuts_ideographs = False

    def __init__(self, vocab_path, do_lower_case=True):
        super().__init__(vocab_path, do_lower_case)
        self.synonyms, path = {}, os.path.join(os.path.dirname(vocab_path), SYNONYMS)
        if os.path.isfile(path):
            with open(path, encoding='utf-8') as f:
                self.synonyms = dict(line.split() for line in f)

    def encode_aligned(self, text):
        encoded = Encoded([], [], [])
        for match in re.finditer(r'\S+', text):
            word = match[0].lower() if self.do_lower_case else match[0]
            encoded.ids.append(self.vocab.get(self.synonyms.get(word, word), self.vocab['[UNK]']))
            encoded.starts.append(match.start())
            encoded.ends.append(match.end())
        return encoded

    def files(self, longest):
        lines = ''.join(f'{word} {other}\n' for word, other in sorted(self.synonyms.items()))
        return {**super().files(longest), SYNONYMS: lines.encode()}
