"""The sample makers, one a task. One more is one new file and one line in `MAKERS`."""

from ernie.pretrain.building.makers.dialogue_response import DialogueResponseMaker
from ernie.pretrain.building.makers.discourse_relation import DiscourseRelationMaker
from ernie.pretrain.building.makers.ir_relevance import IrRelevanceMaker
from ernie.pretrain.building.makers.knowledge_masking import KnowledgeMaskingMaker
from ernie.pretrain.building.makers.next_sentence import NextSentenceMaker
from ernie.pretrain.building.makers.sentence_distance import SentenceDistanceMaker
from ernie.pretrain.building.makers.sentence_reordering import SentenceReorderingMaker
from ernie.pretrain.building.makers.token_tasks import CapitalizationMaker, TokenDocumentMaker

MAKERS = {
    maker.name: maker
    for maker in (
        KnowledgeMaskingMaker,
        CapitalizationMaker,
        TokenDocumentMaker,
        SentenceReorderingMaker,
        SentenceDistanceMaker,
        DiscourseRelationMaker,
        IrRelevanceMaker,
        NextSentenceMaker,
        DialogueResponseMaker,
    )
}


def make_makers(making, special, markers):
    """The makers of the chosen tasks, in the order of `MAKERS`.

    With `next_sentence`, `knowledge_masking` makes no samples of its own: those of the pairs are masked (ERNIE 1.0).

    Args:
        making: a `Making`.
        special: `SpecialIds`.
        markers: a `MarkerTable`.
    """
    made = []
    for name, kind in MAKERS.items():
        if name not in making.tasks or (name == 'knowledge_masking' and 'next_sentence' in making.tasks):
            continue
        made.append(kind(making, special, markers) if name == 'discourse_relation' else kind(making, special))
    return made
