"""One number for each text, the same for texts that differ in letter case, width or white space only."""

import hashlib
import unicodedata


def folded(text):
    """NFKC, without letter case, every run of white space one space."""
    return ' '.join(unicodedata.normalize('NFKC', text).casefold().split())


def text_key(*texts):
    """The number of a text, or of several that belong together: 0 .. 2**63 - 1. It is the same on every machine."""
    content = '\0'.join(map(folded, texts)).encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), 'big') >> 1
