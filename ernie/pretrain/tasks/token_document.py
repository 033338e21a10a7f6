"""Words that a document repeats (Sun et al. 2020, ERNIE 2.0, section 4.2.1)."""

from ernie.pretrain.tasks.task import TokenTask


class TokenDocument(TokenTask):
    """Does this token of a segment also occur in other segments of the document?"""

    name = 'token_document'
    id = 2
    head = 'token_document_fc'
