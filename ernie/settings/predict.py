"""The settings of the programs that only read a model, frozen as flags by their tests. None: as the model says."""

from dataclasses import dataclass
from typing import Self

from ernie.inference.engines import ENGINES, MODEL_ENGINES, MODEL_FORMATS, PRECISIONS, check_engine
from ernie.inference.pooling import POOLINGS
from ernie.inference.results import WRITERS
from ernie.inference.stream import formats
from ernie.settings.fields import changed, setting
from ernie.settings.groups import (
    ConsoleSettings,
    ModelSettings,
    Settings,
    SubwordSettings,
    ThreadSettings,
    UnusedSettings,
)
from ernie.tasks.table import choices
from ernie.tokenizers import TOKENIZERS
from propeller.errors import UsageError

CLUSTERS = ('local', 'ray')
EMBEDDING = 'embedding'


def tasks() -> tuple[str, ...]:
    """What `--task` takes where vectors are something that a model can be for."""
    return (*choices(), EMBEDDING)


@dataclass(frozen=True, kw_only=True)
class TextSettings(Settings, title='texts'):
    text_column: str | None = setting(
        None, 'Column of the text (of questions: the question). Left out: as in training, or found by its name.'
    )
    text_b_column: str | None = setting(None, 'Column of the second text (of questions: the context).')
    tokenizer: str | None = setting(None, 'Left out: as in training, else FullTokenizer.', choices=TOKENIZERS)
    do_lower_case: bool | None = setting(None, 'Lower-case and strip accents. Left out: as in training, else true.')
    batch_size: int = setting(32, 'Texts of a batch.', least=1)


@dataclass(frozen=True, kw_only=True)
class PredictSettings(
    ModelSettings, TextSettings, SubwordSettings, ThreadSettings, ConsoleSettings, title='prediction'
):
    """Prediction with a fine-tuned checkpoint, and its export."""

    init_checkpoint: str | None = setting(None, 'Checkpoint folder, or an exported model; must be given.')
    task: str | None = setting(None, 'That of the checkpoint; others are refused.', choices=choices, listed=True)
    predict_set: str | None = setting(None, 'File to predict; "-": standard input. Left out: export only.')
    input_format: str = setting('auto', 'Form of --predict_set.', choices=formats, listed=True)
    output: str = setting('-', 'File of the results; "-" is standard output.')
    format: str | None = setting('tsv', 'Form of the results; text is for a person.', choices=WRITERS, listed=True)
    top_k: int | None = setting(None, 'Give the most probable classes (reading: answers), so many, in order.', least=1)
    min_confidence: float | None = setting(
        None, 'Hold back what is less sure: no label, no answer, no entity. The confidence is given.', least=0, most=1
    )
    carry: bool = setting(False, 'Results in JSON lines, CSV and Parquet have all columns of the input, too.')
    skip_bad_rows: bool = setting(False, 'Rows that cannot be used get an empty result.')
    do_prediction: bool = setting(True, 'Predict --predict_set; false only exports.')
    save_inference_model_path: str = setting('inference_model', 'Folder for exported models; "": export nothing.')
    export_format: str | None = setting(
        None, 'Of the export. Left out: what --engine reads.', choices=MODEL_FORMATS, listed=True
    )
    overwrite: bool = setting(False, 'Replace an exported model of the same name.', switch='perhaps')
    engine: str | None = setting('predictor', 'What runs the model.', choices=ENGINES, listed=True)
    precision: str | None = setting(
        None,
        'Precision of matrix products. Left out: that of an exported model, else fp32.',
        choices=PRECISIONS,
        listed=True,
    )
    use_fp16: bool = setting(False, 'Half precision; not available.')
    use_cuda: bool | None = setting(None, 'Run on GPU. Left out: where the engine has one.')
    num_labels: int | None = setting(None, 'Number of classes. Left out: that of the checkpoint.', least=1)
    label_map_config: str | None = setting(None, 'JSON object: label -> id. Left out: those in the checkpoint.')
    max_seq_len: int | None = setting(None, 'Longest input in tokens. Left out: that of the checkpoint, else 128.')
    for_cn: bool | None = setting(None, 'Drop spaces next to ideographs. Left out: as in training, else true.')
    length_window: int = setting(50, 'Rows of like length share a batch, inside windows of so many batches.', least=1)

    @property
    def predicts(self) -> bool:
        """Whether there is something to predict."""
        return bool(self.do_prediction and self.predict_set)

    def checked(self) -> Self:
        settings = super().checked()
        if not self.init_checkpoint:
            raise UsageError('--init_checkpoint is missing: the folder of the model.')
        if self.use_fp16:
            raise UsageError(
                '--use_fp16 true: half precision is not available; --precision bf16 is, with some engines.'
            )
        check_engine(self.engine, self.precision, bool(self.use_cuda))
        engine = self.engine or 'predictor'
        reads = ENGINES[engine].reads
        if self.export_format and self.export_format not in reads and self.predicts:
            raise UsageError(
                f'--export_format {self.export_format}: --engine {engine} reads {" and ".join(reads)}. Leave one of '
                f'the two out, or give --do_prediction false.'
            )
        if not self.predicts and not self.save_inference_model_path:
            raise UsageError('nothing to do: give --predict_set to predict, or --save_inference_model_path to export.')
        return settings


@dataclass(frozen=True, kw_only=True)
class PredictVerbSettings(PredictSettings, title='what to predict'):
    """Answers of a fine-tuned model to texts, to questions, to the rows of files or of standard input."""

    first_flags = (
        *('model', 'inputs', 'text', 'text_b', 'question', 'context', 'output', 'format', 'top_k', 'min_confidence'),
        *('carry', 'skip_bad_rows', 'text_column', 'engine'),
    )

    model: str | None = setting(
        None, 'A checkpoint, an exported model, or the folder of a training: its best checkpoint.', positional=True
    )
    inputs: tuple[str, ...] = setting(
        (), 'Texts, or files. None: standard input, as is "-".', positional=True, metavar='TEXT or FILE ...'
    )
    text: tuple[str, ...] = setting((), 'Texts, also such as look like a path.')
    text_b: tuple[str, ...] = setting((), 'Second texts of pairs, as many as there are first ones.')
    question: tuple[str, ...] = setting((), 'Questions for a model of reading comprehension.')
    context: str | None = setting(None, 'The text that answers --question, or a file that holds it.')
    engine_cluster: str = setting(
        'local', 'Where files are predicted: here, or by the workers of Ray Data.', choices=CLUSTERS, listed=True
    )
    ray_address: str | None = setting(None, 'Of a cluster of Ray. Left out: $RAY_ADDRESS, else one is started here.')
    workers: int | None = setting(
        None, 'Workers of Ray, each with the model in memory. Left out: one for --cpu_threads (1) cores.', least=1
    )
    output: str = changed(
        PredictSettings, 'output', '-', 'File of the results, or a folder for those of several files; "-": printed.'
    )
    format: str | None = changed(
        PredictSettings,
        'format',
        None,
        'Form of the results; tsv: as in 2019. Left out: by the ending of --output, text on a terminal, else jsonl.',
    )
    carry: bool = changed(PredictSettings, 'carry', True)
    engine: str | None = changed(PredictSettings, 'engine', None, 'What runs the model. Left out: what reads it.')
    save_inference_model_path: str = changed(
        PredictSettings, 'save_inference_model_path', '', 'Folder for exported models. Left out: none is kept.'
    )

    @property
    def predicts(self) -> bool:
        return self.do_prediction

    def checked(self) -> Self:
        given = (self.model,) if self.model else ()
        if self.init_checkpoint:  # what stands without a flag is something to predict, then
            inputs, model = (*given, *self.inputs), self.init_checkpoint
        elif given:
            inputs, model = self.inputs, given[0]
        else:
            raise UsageError('no model is given. Expected: ernie predict MODEL "a text", or ernie predict MODEL FILE.')
        return super(PredictVerbSettings, self.replace(model=None, init_checkpoint=model, inputs=inputs)).checked()


@dataclass(frozen=True, kw_only=True)
class ExportSettings(PredictSettings):
    """The export of a fine-tuned checkpoint as an inference model."""

    flags = (
        *('model', 'init_checkpoint', 'save_inference_model_path', 'export_format', 'overwrite', 'ernie_config_path'),
        *('vocab_path', 'label_map_config', 'task', 'num_labels', 'max_seq_len', 'do_lower_case', 'tokenizer'),
        *('sentence_piece_model', 'word_dict', 'for_cn', 'pooling', 'layer', 'cpu_threads', 'log_level'),
        *('engine', 'precision', 'calibration_set', 'dev_set', 'max_drop'),
    )
    model: str | None = setting(
        None, 'A checkpoint, or the folder of a training: its best checkpoint.', positional=True
    )
    task: str | None = changed(
        PredictSettings,
        'task',
        None,
        'That of the checkpoint; others are refused. embedding: vectors of texts, of any model.',
        choices=tasks,
    )
    pooling: str | None = setting(
        None, 'With --task embedding: vector of a text. Left out: pooled.', choices=POOLINGS, listed=True
    )
    layer: int | None = setting(
        None, 'With --task embedding: 0 embeddings, 1 first, -1 last. Left out: the last, as pooled always is.'
    )
    save_inference_model_path: str = changed(
        PredictSettings, 'save_inference_model_path', 'inference_model', 'Folder for the model.'
    )
    export_format: str | None = changed(
        PredictSettings, 'export_format', None, 'Form of the export. Left out: what --engine reads.'
    )
    do_prediction: bool = changed(PredictSettings, 'do_prediction', False)
    engine: str | None = changed(
        PredictSettings, 'engine', None, 'What will run the model. Left out: predictor; of int8 openvino.'
    )
    precision: str | None = changed(
        PredictSettings,
        'precision',
        None,
        'int8: products in 8 bits, with a report of score and speed. Left out: fp32, which can be run in bf16, too.',
        choices=('fp32', 'int8'),
    )
    calibration_set: str | None = setting(
        None, 'With int8: file whose rows show the range of values. Left out: the training file of the model.'
    )
    dev_set: str | None = setting(
        None, 'With int8: labelled file to score. Left out: that of the training of the model.'
    )
    max_drop: float | None = setting(
        None,
        'With int8: points that the score may lose; beyond it nothing is exported. Left out: 0.5.',
        least=0,
        most=100,
    )

    def checked(self) -> Self:
        if self.model and self.init_checkpoint:
            raise UsageError(f'{self.model} and --init_checkpoint {self.init_checkpoint}: give one model.')
        if self.task != EMBEDDING and (self.pooling or self.layer is not None):
            raise UsageError('--pooling and --layer are for vectors: give --task embedding.')
        if self.task == EMBEDDING and (self.label_map_config or self.num_labels):
            raise UsageError('--label_map_config and --num_labels are for classes, which vectors do not have.')
        model = self.model or self.init_checkpoint
        changes = {'model': None, 'init_checkpoint': model, 'engine': self._engine()}
        return super(ExportSettings, self.replace(**changes)).checked()

    def _engine(self) -> str:
        """What will run the model."""
        if self.precision == 'int8':
            return self._engine_of_int8()
        for name in ('calibration_set', 'dev_set', 'max_drop'):
            if getattr(self, name) is not None:
                raise UsageError(f'--{name} is for models in int8: give --precision int8, or leave it out.')
        engine = self.engine or MODEL_ENGINES[self.export_format or 'paddle']
        reads = ENGINES[engine].reads
        if self.export_format not in (None, *reads):
            raise UsageError(
                f'--export_format {self.export_format}: --engine {engine} reads {" and ".join(reads)}. Leave one out.'
            )
        return engine

    def _engine_of_int8(self) -> str:
        if self.engine and ENGINES[self.engine].quantizes:
            raise UsageError(
                f'--engine {self.engine} computes any model in int8: give --precision int8 where you predict; it needs '
                f'no export.'
            )
        able = [name for name, kind in ENGINES.items() if 'int8' in kind.precisions and not kind.quantizes]
        engine = self.engine or ('onnxruntime' if self.export_format == 'onnx' else 'openvino')
        if engine not in able:
            raise UsageError(f'--precision int8: --engine {engine} cannot; {" and ".join(able)} can.')
        if self.export_format and (engine, self.export_format) != ('onnxruntime', 'onnx'):
            raise UsageError(
                f'--export_format {self.export_format}: int8 has the form that its engine reads. Leave it out.'
            )
        if engine == 'onnxruntime' and self.calibration_set and self.task != EMBEDDING:
            raise UsageError(
                '--calibration_set: --engine onnxruntime sees the range of values while it runs, and needs no rows. '
                'Leave it out.'
            )
        return engine


@dataclass(frozen=True, kw_only=True)
class EncodeSettings(
    ModelSettings, UnusedSettings, TextSettings, SubwordSettings, ThreadSettings, ConsoleSettings, title='vectors'
):
    """Vectors of texts and of their tokens from a pre-trained or fine-tuned encoder, as NumPy files."""

    init_pretraining_params: str | None = setting(None, 'Parameters: a model folder, or a file of tensors.')
    data_set: str | None = setting(None, 'TSV, CSV or JSON file with a column text_a, perhaps text_b.')
    output_dir: str = setting('embeddings', 'Folder to make; must not exist.')
    task_id: int | None = setting(None, "Of models with use_task_id. Left out: the checkpoint's, else 0.", least=0)
    max_seq_len: int | None = setting(None, 'Longest input in tokens. Left out: 512, or what the model has.', least=3)
    skip_bad_rows: bool = setting(False, 'Leave out rows that cannot be read; lines.npy tells which are there.')
    cache: bool = setting(True, 'Keep the tokenized file for the next run (in $ERNIE_CACHE or ~/.cache/ernie).')
    pooling: str = setting('pooled', 'Vector of a text.', choices=POOLINGS)
    layer: int | None = setting(None, '0 embeddings, 1 first, -1 last. Left out: the last, as pooled always is.')
    normalize: bool = setting(False, 'Scale the vectors of texts to length 1.')
    top_layer: bool = setting(True, 'Also write the vectors of all tokens.')
    use_cuda: bool | None = setting(None, 'Run on GPU (that of FLAGS_selected_gpus). Left out: where Paddle has one.')

    def checked(self) -> Self:
        settings = super().checked()
        for name in ('init_pretraining_params', 'data_set', 'output_dir'):
            if not getattr(self, name):
                raise UsageError(f'--{name} is missing.')
        return settings
