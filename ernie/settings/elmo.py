"""The settings of `ernie pretrain elmo`, frozen as flags by `tests/ernie/test_pretrain_elmo.py`."""

from dataclasses import dataclass
from typing import Self

from ernie.pretrain.building.lexers import LEXERS
from ernie.settings.fields import changed, described, setting
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from propeller.errors import UsageError

_NEW = ('lexer', 'min_count', 'layer_dropout', 'n_negative_samples_batch')
# There are no labels, nothing to predict, and one way to cut texts into words.
_LEFT_OUT = (
    *(
        'do_train',
        'do_val',
        'do_test',
        'test_set',
        'test_save',
        'diagnostic',
        'diagnostic_save',
        'tries',
        'try_minutes',
    ),
    *('model', 'freeze_encoder', 'keep_layers', 'head_learning_rate', 'is_classify', 'is_regression', 'is_multilabel'),
    *('label_column', 'label_map_config', 'num_labels', 'class_weights', 'metric', 'chunk_scheme', 'use_crf'),
    *('max_query_length', 'max_answer_length', 'doc_stride', 'n_best_size', 'null_score_diff_threshold'),
    *('to_simplified', 'task_id', 'tokenizer', 'for_cn', 'sentence_piece_model', 'word_dict', 'metrics', 'enable_ce'),
    *('num_iteration_per_drop_scope', 'use_multi_gpu_test', 'use_fast_executor', 'recompute', 'text_b_column'),
    *('dropout_p', 'truncation', 'boost'),
)


@dataclass(frozen=True, kw_only=True)
class ElmoSettings(OwnDataSettings, title='pre-training of ELMo'):
    """Pre-train ELMo on texts: each word is learnt from those before it, and from those behind it."""

    flags = (*(name for name in described(OwnDataSettings) if name not in _LEFT_OUT), *_NEW)
    first_flags = (
        *('ernie_config_path', 'vocab_path', 'lexer', 'dev_set', 'dev_share', 'text_column', 'checkpoints', 'epoch'),
        *('learning_rate', 'max_seq_len', 'batch_size', 'n_negative_samples_batch', 'resume'),
    )

    ernie_config_path: str | None = changed(
        OwnDataSettings, 'ernie_config_path', None, 'Model configuration (JSON), as config/elmo_small.json.'
    )
    vocab_path: str | None = changed(
        OwnDataSettings, 'vocab_path', None, 'Word list. Left out: made of the texts, vocab_size words at most.'
    )
    lexer: str = setting(
        'spaces',
        'How texts are cut into words; spaces: they are cut already. With --vocab_path the file beside it says so.',
        choices=tuple(name for name in LEXERS if name != 'none'),
    )
    min_count: int = setting(2, 'Without --vocab_path: what is rarer is no word of the list.', least=1)
    layer_dropout: float = setting(0.1, 'Dropout before and behind each layer.', least=0, below=1)
    n_negative_samples_batch: int = setting(
        8000,
        'Words that are drawn for a batch, against which the right one is learnt; at most a quarter of the vocabulary. '
        '0: all words are compared.',
        least=0,
    )
    epoch: int = changed(FinetuneSettings, 'epoch', 5)
    learning_rate: float = changed(FinetuneSettings, 'learning_rate', 2e-3)
    max_seq_len: int = changed(FinetuneSettings, 'max_seq_len', 64)
    batch_size: int = changed(FinetuneSettings, 'batch_size', 64)
    early_stop: int = changed(FinetuneSettings, 'early_stop', -1)
    keep_layers: int = changed(FinetuneSettings, 'keep_layers', 0)
    checkpoints: str = changed(
        OwnDataSettings, 'checkpoints', '', 'Folder of what the training leaves. Left out: runs/NAME OF FILE-elmo.'
    )

    def checked(self) -> Self:
        if not self.train_set:
            raise UsageError('no file of texts is given: ernie pretrain elmo FILE --ernie_config_path CONFIG.')
        if not (self.ernie_config_path or self.init_pretraining_params or self.init_checkpoint or self.resume):
            raise UsageError('--ernie_config_path is missing: config/elmo_small.json, or --init_pretraining_params.')
        return super().checked()
