"""Capital letters (Sun et al. 2020, ERNIE 2.0, section 4.2.1)."""

from ernie.pretrain.tasks.task import TokenTask


class Capitalization(TokenTask):
    """Was the word of this token written with a capital letter? The input is in lower case."""

    name = 'capitalization'
    id = 1
    head = 'capitalization_fc'
