"""The settings of `ernie distill`, frozen as flags by `tests/ernie/test_distill_flags.py`."""

from dataclasses import dataclass
from typing import Self

from ernie.distill.terms import LOSSES, parse_layers, terms_of
from ernie.settings.fields import changed, described, setting
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from propeller.errors import UsageError

_NEW = (
    *('teacher', 'loss', 'temperature', 'layer_pairs', 'relation_heads', 'projection', 'student_layers'),
    *('plain', 'with_plain'),
)
# The teacher decides of the kind of the task; a search and a head alone have no use here.
_LEFT_OUT = (
    *('do_train', 'tries', 'try_minutes', 'freeze_encoder', 'boost', 'keep_layers', 'is_classify', 'is_regression'),
    *('is_multilabel', 'enable_ce', 'diagnostic', 'diagnostic_save', 'num_iteration_per_drop_scope'),
    *('use_multi_gpu_test', 'use_fast_executor'),
)


@dataclass(frozen=True, kw_only=True)
class DistillSettings(OwnDataSettings, title='distillation'):
    """Train a small model, the student, to be like a large one, the teacher: its layers, its answers, or both."""

    flags = (*(name for name in described(OwnDataSettings) if name not in _LEFT_OUT), *_NEW)
    first_flags = (
        *('teacher', 'loss', 'student_layers', 'layer_pairs', 'temperature', 'model', 'with_plain', 'plain', 'dev_set'),
        *('dev_share', 'checkpoints', 'epoch', 'learning_rate', 'max_seq_len', 'batch_size', 'resume'),
    )

    teacher: str | None = setting(None, 'Checkpoint, folder of a training, or (layers alone) any encoder.')
    loss: str = setting(
        'logits,labels',
        f'What is learnt, with weights (logits=1,relation=0.5): {", ".join(LOSSES)}. The first three are of layers; '
        'with them alone the student has no task yet.',
        joined=True,
    )
    temperature: float = setting(1.0, 'Of the soft labels of the loss logits.', above=0)
    layer_pairs: str | None = setting(
        None,
        'Layers that are compared, TEACHER-STUDENT from 1, 0 the embeddings: 4-1,8-2,12-3. Left out: spread evenly. '
        'relation takes the last pair.',
        joined=True,
    )
    relation_heads: int | None = setting(None, 'Left out: as many as the teacher has heads.', least=1)
    projection: bool | None = setting(
        None, 'Compare hidden states after a learned projection. Left out: where the widths differ.'
    )
    student_layers: str | None = setting(
        None,
        'Layers of the teacher (or of --model) that the student begins with: 4,8,12. Left out: a quarter of the '
        "teacher's, spread evenly.",
        joined=True,
    )
    plain: str | None = setting(None, 'The student without distillation, for the table: its training or checkpoint.')
    with_plain: bool = setting(False, 'Train it too, from the same start, in CHECKPOINTS/plain.')
    model: str | None = changed(
        OwnDataSettings,
        'model',
        None,
        'Model that the student begins as: a name, a folder, a run of this program. Left out: layers of the teacher.',
    )
    checkpoints: str = changed(
        OwnDataSettings, 'checkpoints', '', 'Folder of what the training leaves. Left out: runs/NAME OF FILE-student.'
    )
    keep_layers: int = changed(FinetuneSettings, 'keep_layers', 0)

    def checked(self) -> Self:
        if not self.teacher:
            raise UsageError('--teacher is missing: ernie distill FILE --teacher CHECKPOINT.')
        if not self.train_set:
            raise UsageError('no training file is given: ernie distill FILE --teacher CHECKPOINT.')
        terms = terms_of(self)
        if self.student_layers:
            parse_layers(self.student_layers)
            if self.ernie_config_path:
                raise UsageError('--student_layers and --ernie_config_path: give one, layers of a model or a new one.')
        if self.plain and self.with_plain:
            raise UsageError('--plain and --with_plain true: give one.')
        if terms.of_layers_alone and (self.plain or self.with_plain or self.test_set):
            flag = '--test_set' if self.test_set else '--plain' if self.plain else '--with_plain'
            raise UsageError(f'{flag}: by --loss {self.loss} alone the student learns no task. Add logits or labels.')
        return super().checked()
