"""Sequence labelling: a label for each token of a text."""

from ernie.tasks.spec import TaskSpec

SPEC = TaskSpec(
    name='sequence_labeling',
    verb='tag',
    about='a label for each token, named entities (run_sequence_labeling.py)',
    program='run_sequence_labeling.py',
    graph='ernie.tasks.sequence_labeling.graph:ErnieSequenceLabeler',
    training='ernie.tasks.sequence_labeling.training:SequenceLabelingTask',
    codec='ernie.tasks.sequence_labeling.codec:SequenceLabelingCodec',
    survey='ernie.survey.tagging:survey_sentences',
    head=('cls_seq_label_out_w', 'cls_seq_label_out_b', 'crfw'),  # with a CRF: `ernie.decoding.crf.WEIGHTS`
    huggingface=('ForTokenClassification', 'classifier'),
    has_classes=True,
    columns=(['text_a'],),
    by_characters=True,
    fields='ernie.tasks.sequence_labeling.codec:FIELDS',
    forms={'conll': 'ernie.tasks.sequence_labeling.conll_form:ConllForm'},
)
