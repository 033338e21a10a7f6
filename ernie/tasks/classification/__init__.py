"""Classification, regression and multi-label classification of one text or a pair."""

from ernie.tasks.spec import TaskSpec

KINDS = ('classify', 'regression', 'multilabel')

SPEC = TaskSpec(
    name='classification',
    verb='classify',
    about='classes, several classes at once, ranking, regression (run_classifier.py)',
    program='run_classifier.py',
    graph='ernie.tasks.classification.graph:ErnieClassifier',
    training='ernie.tasks.classification.training:ClassificationTask',
    codec='ernie.tasks.classification.codec:ClassificationCodec',
    survey='ernie.survey.tables:survey_table',
    head=('_cls_out_w', '_cls_out_b'),
    huggingface=('ForSequenceClassification', 'classifier'),
    has_classes=True,
    of_texts=True,
    kinds=dict(zip(('classification', 'regression', 'multilabel'), KINDS, strict=True)),
    fields={'kind': (lambda value: value in KINDS, f'one of {", ".join(KINDS)}')},
    needs_labels=False,  # what a folder of 2019 is taken to be
)
