"""The runs: every program, on the files of `data`, in chains of runs that build on one another.

Each run writes into the folder of its name and nowhere else.
"""

import os
import shutil
from typing import NamedTuple

CPU = ['--use_cuda', 'false']
PLAIN = ['--fused_ops', 'false', '--precision', 'fp32']  # as on every processor
SCRATCH = ['--ernie_config_path', 'data/config.json', '--vocab_path', 'data/vocab.txt']


class Run(NamedTuple):
    """name: of its folder. argv: program and flags. prepare: what is done before. stdin: a file."""

    name: str
    argv: list
    prepare: object = None
    stdin: str = os.devnull
    slow: bool = False


def _flags(values):
    return [part for name, value in values.items() for part in (f'--{name}', str(value))]


def _tune(program, name, data, start=SCRATCH, plain=PLAIN, prepare=None, extra=(), **flags):
    suffix = 'json' if program == 'run_mrc.py' else 'tsv'
    sets = {f'{part}_set': f'data/{data}{part}.{suffix}' for part in ('train', 'dev', 'test')}
    values = {'checkpoints': f'{name}/c', 'random_seed': 7, 'max_seq_len': 24, 'batch_size': 8, 'epoch': 2}
    values |= {'skip_steps': 2, 'validation_steps': 6, 'save_steps': 8, 'learning_rate': 1e-3, 'cache': 'false', **sets}
    if program != 'run_mrc.py':
        values['test_save'] = f'{name}/result'
    return Run(name, [program, *CPU, *start, *plain, *_flags(values | flags), *extra], prepare)


def _classify(name, data='', **flags):
    return _tune('run_classifier.py', name, data, **flags)


def _tag(name, data='tags_', **flags):
    flags = {'label_map_config': f'data/{data}map.json'} | flags
    return _tune('run_sequence_labeling.py', name, data, **flags)


def _read(name, **flags):
    flags = {'max_query_length': 5, 'doc_stride': 6, 'max_answer_length': 5, 'verbose': 'true'} | flags
    return _tune('run_mrc.py', name, 'questions_', **flags)


def _pretrain(name, plain=PLAIN, prepare=None, **flags):
    values = {'checkpoints': f'{name}/c', 'batch_size': 200, 'max_seq_len': 24, 'num_train_steps': 12}
    values |= {'warmup_steps': 2, 'learning_rate': 1e-3, 'skip_steps': 2, 'validation_steps': 6, 'save_steps': 6}
    values |= {'buffer_size': 20, 'random_seed': 3, 'valid_filelist': 'data/pretrain_valid_list'}
    if not {'schedule', 'do_test'} & flags.keys():
        values['train_filelist'] = 'data/pretrain_list'
    return Run(name, ['train.py', *CPU, *SCRATCH, *plain, *_flags(values | flags)], prepare)


def _predict(name, checkpoint, data='data/texts.tsv', engine='predictor', form='tsv', extra=(), stdin=os.devnull):
    values = {'init_checkpoint': checkpoint, 'save_inference_model_path': f'{name}/export', 'engine': engine}
    values |= {'format': form, 'output': f'{name}/result.{form}', 'batch_size': 4, 'cpu_threads': 1}
    values |= {'predict_set': data} if data else {}
    return Run(name, ['infer_classifyer.py', *CPU, *_flags(values), *extra], None, stdin)


def _encode(name, checkpoint, **flags):
    values = {'init_pretraining_params': checkpoint, 'data_set': 'data/texts.tsv', 'output_dir': f'{name}/vectors'}
    values |= {'batch_size': 4, 'cache': 'false'}
    return Run(name, ['ernie_encoder.py', *CPU, *_flags(values | flags)])


def _module(name, *argv):
    return Run(name, ['-m', *argv])


def _without_the_last(source, target, step, *others):
    """Copy the checkpoints of a finished run and forget what is later than `step`."""

    def prepare():
        shutil.copytree(source, target)
        for name in (f'step_{step}', *others):
            shutil.rmtree(os.path.join(target, name))

    return prepare


def _classification():
    dev = 'data/dev.tsv,data/dev2.tsv'
    diagnostic = {'diagnostic': 'data/dev2.tsv', 'diagnostic_save': 'classes/diagnostic'}
    yield _classify(
        'classes', dev_set=dev, log_dir='classes/events', extra=['--enable_ce'], verbose='true', **diagnostic
    )
    yield _classify('classes_default', plain=[], dev_set=dev)
    prepare = _without_the_last('classes/c', 'classes_resumed/c', 16)
    yield _classify('classes_resumed', dev_set=dev, resume='true', prepare=prepare)
    yield _classify('classes_continued', start=['--init_checkpoint', 'classes/c/step_8'], epoch=3)
    yield _classify('classes_evaluated', start=['--init_checkpoint', 'classes/c/best'], do_train='false', dev_set=dev)
    yield _classify('classes_started', start=['--init_pretraining_params', 'classes/c/best'], epoch=1, do_test='false')
    yield _classify('classes_cached', cache='true', epoch=1, do_val='false')
    yield _classify('classes_from_cache', cache='true', epoch=1, do_val='false')
    yield from _predictions()


def _kinds_of_classification():
    yield _classify('rows_skipped', train_set='data/train_bad.tsv', skip_bad_rows='true', epoch=1)
    named = {'label_map_config': 'data/names.json', 'train_set': 'data/named.tsv', 'dev_set': 'data/named.tsv'}
    yield _classify('named', **named, test_set='data/texts.tsv', epoch=1, metric='macro_f1')
    yield _classify(
        *('pairs', 'pairs_'),
        class_weights='1,2',
        gradient_accumulation_steps=2,
        lr_scheduler='noam_decay',
        metric='acc_and_f1',
    )
    numbers = {'is_classify': 'false', 'is_regression': 'true', 'metric': 'pearson_and_spearman'}
    yield _classify('scores', 'scores_', **numbers, lr_scheduler='constant', length_window=0)
    many = {'is_multilabel': 'true', 'num_labels': 3, 'max_checkpoints': 1, 'early_stop': 1, 'validation_steps': 2}
    yield _classify('many', 'many_', **many, save_steps=2, epoch=4)
    spaces = {'tokenizer': 'CharTokenizer', 'freeze_encoder': 'true', 'class_weights': 'balanced'}
    yield _classify('spaces', 'spaces_', **spaces)
    tasks = {'task_id': 1, 'head_learning_rate': 0.01, 'in_tokens': 'true', 'batch_size': 100, 'recompute': 'true'}
    start = ['--ernie_config_path', 'data/config_tasks.json', '--vocab_path', 'data/vocab.txt']
    yield _classify('tasks', start=start, **tasks, shuffle='false', clip_norm=0, do_val='false')
    argv = _classify('launched', epoch=1).argv
    own = ['--nproc_per_node', '2', '--split_log_path', 'launched/log', '--start_port', '{port}']
    yield Run('launched', ['finetune_launch.py', *own, '{checkout}/run_classifier.py', *argv[1:]])
    yield _predict('pairs_predicted', 'pairs/c/best', data='data/texts_pairs.tsv', form='jsonl')
    yield _predict('scores_predicted', 'scores/c/best')
    argv = _predict('named_predicted', 'named/c/best').argv
    yield Run('named_predicted', ['infer_classifier.py', *argv[1:]])
    yield _predict('many_predicted', 'many/c/best', engine='onnxruntime', form='jsonl')


def _predictions():
    best = 'classes/c/best'
    yield _predict('classes_predicted', best)
    yield _predict('classes_executor', best, engine='executor', form='jsonl', data='data/texts.jsonl')
    yield _predict('classes_onnxruntime', best, engine='onnxruntime')
    yield _predict('classes_openvino', best, engine='openvino', form='jsonl')
    yield _predict('classes_from_export', 'classes_predicted/export/best_inference_model', form='jsonl')
    yield _predict('classes_stdin', best, data='-', stdin='data/texts.jsonl', extra=['--input_format', 'jsonl'])
    yield _predict('classes_skipped', best, data='data/texts_bad.tsv', extra=['--skip_bad_rows', 'true'])
    yield _predict('classes_exported', best, data=None, extra=['--export_format', 'onnx'])
    yield _encode('vectors_pooled', best)
    yield _encode('vectors_cls', best, pooling='cls', layer=1)
    yield _encode('vectors_mean', best, pooling='mean', normalize='true', layer=0)
    yield _encode('vectors_max', best, pooling='max', top_layer='false', max_seq_len=9)
    yield _module('inspected', 'ernie.checkpoint', 'inspect', best)
    for form in ('fluid', 'safetensors', 'huggingface'):
        yield _module(f'to_{form}', 'ernie.checkpoint', 'convert', best, f'to_{form}/model', '--to', form)
    yield _module('from_fluid', 'ernie.checkpoint', 'inspect', 'to_fluid/model')
    yield _module('shown', 'propeller.tools.ckpt_inspector', 'show', 'to_fluid/model/params')
    yield from _wrong_models()


def _wrong_input():
    error = lambda name, **flags: _classify(f'error_{name}', **flags)  # noqa: E731
    yield error('no_file', train_set='data/none.tsv')
    yield error('cells', train_set='data/broken.tsv')
    yield error('label', train_set='data/labels_off.tsv')
    yield error('utf8', train_set='data/not_utf8.tsv')
    yield error('config', start=['--ernie_config_path', 'data/broken.json', '--vocab_path', 'data/vocab.txt'])
    yield error('flag', extra=['--learning_rte', '1'])
    yield error('word', do_val='perhaps')
    yield error('number', epoch=0)
    yield error('both', is_regression='true')
    yield error('metric', metric='accuracy')
    yield error('length', max_seq_len=128)
    yield Run('error_launch', ['finetune_launch.py', '--nproc_per_node', '0', '{checkout}/run_classifier.py'])


def _wrong_models():
    best = 'classes/c/best'
    wide = ['--init_pretraining_params', best, '--ernie_config_path', 'data/config_wide.json']
    yield _classify('error_sizes', start=wide)
    yield _tag('error_task', start=['--init_checkpoint', best], do_train='false')
    yield _classify('error_folder', checkpoints='classes/c')
    nothing = {'do_train': 'false', 'do_val': 'false', 'do_test': 'false'}
    yield _classify('error_nothing', start=['--init_checkpoint', best], **nothing)
    yield _predict('error_row', best, data='data/texts_bad.tsv')
    yield _predict('error_columns', best, data='data/contexts.jsonl')
    yield _predict('error_model', 'data/none')
    yield _predict('error_engine', 'classes_onnxruntime/export/best_inference_model', engine='predictor')
    yield _encode('error_layer', best, layer=5)
    yield _module(
        'error_convert', 'ernie.checkpoint', 'convert', 'data/vocab.txt', 'error_convert/model', '--to', 'fluid'
    )


def _tagging():
    yield _tag('tags', verbose='true')
    yield _tag('tags_default', plain=[], epoch=1)
    yield _tag('tags_crf', 'iobes_', use_crf='true', chunk_scheme='IOBES', num_labels=9)
    prepare = _without_the_last('tags_crf/c', 'tags_resumed/c', 16)
    yield _tag(
        'tags_resumed', 'iobes_', use_crf='true', chunk_scheme='IOBES', num_labels=9, resume='true', prepare=prepare
    )
    yield _tag(
        'tags_evaluated', start=['--init_checkpoint', 'tags/c/best'], do_train='false', dev_set='data/tags_dev.conll'
    )
    yield _predict('tags_predicted', 'tags/c/best', form='jsonl')
    yield _predict('tags_onnxruntime', 'tags_crf/c/best', engine='onnxruntime')
    yield _predict('tags_executor', 'tags_crf/c/best', engine='executor', form='jsonl', data='data/texts.jsonl')
    yield _tag('error_map', label_map_config='data/wrong_map.json')
    yield _tag('error_scheme', chunk_scheme='BIO')


def _reading():
    yield _read('answers')
    yield _read('answers_default', plain=[], epoch=1)
    prepare = _without_the_last('answers/c', 'answers_resumed/c', LAST_READING_STEP)
    yield _read('answers_resumed', resume='true', prepare=prepare)
    start = ['--init_checkpoint', 'answers/c/best']
    yield _read('answers_evaluated', start=start, do_train='false', null_score_diff_threshold=-1, n_best_size=3)
    yield _predict('answers_predicted', 'answers/c/best', data='data/contexts.jsonl', form='jsonl')
    yield _predict('answers_openvino', 'answers/c/best', data='data/questions_test.json', engine='openvino')
    scored = 'answers/c/dev_predictions.json'
    yield _module(
        'scored', 'ernie.metrics.mrc|ernie.metrics.reading', 'data/questions_dev.json', scored, '--metric', 'cmrc'
    )
    yield _module('scored_2019', 'ernie.utils.cmrc2018_eval', 'data/questions_dev.json', scored)
    yield _read('error_json', train_set='data/broken.json')
    yield _read('error_stride', doc_stride=0)


def _pretraining():
    both = {'tasks': 'knowledge_masking,next_sentence'}
    yield _pretrain('pretrained', **both, log_dir='pretrained/events', verbose='true')
    yield _pretrain('pretrained_default', plain=[], num_train_steps=6)
    yield _pretrain(
        'pretrained_resumed',
        **both,
        resume='true',
        prepare=_without_the_last('pretrained/c', 'pretrained_resumed/c', 12),
    )
    stages = {'schedule': 'data/schedule.json', 'save_steps': 5, 'gradient_accumulation_steps': 2, 'max_ngram': 3}
    stages |= {'masking_rate': 0.3, 'at_least_one': 'true', 'whole_unit': 'true'}
    yield _pretrain('staged', **stages)
    prepare = _without_the_last('staged/c', 'staged_resumed/c', 9)
    yield _pretrain('staged_resumed', **stages, resume='true', prepare=prepare)
    start = {'init_checkpoint': 'staged/c/step_5', 'masking_rate': 0.2}
    yield _pretrain('error_masking', **stages | start)
    tested = {'init_checkpoint': 'pretrained/c/step_12', 'test_filelist': 'data/pretrain_valid_list'}
    yield _pretrain('pretrained_tested', do_test='true', **tested)
    more = {
        'init_pretraining_params': 'pretrained/c/step_12',
        'tasks': 'knowledge_masking',
        'lr_scheduler': 'noam_decay',
    }
    yield _pretrain(
        'pretrained_more', **more, max_checkpoints=1, weight_sharing='false', allow_missing='mask_lm_out_fc.w_0'
    )
    yield _classify('tuned', start=['--init_pretraining_params', 'pretrained/c/step_12'], epoch=1)
    yield _pretrain('error_filelist', train_filelist='data/corpus.txt')
    yield _pretrain('error_pretask', tasks='knowledge_masking,colouring')
    yield _pretrain('error_batch', batch_size=50)
    argv = _pretrain('pretrained_launched', num_train_steps=4).argv
    own = ['--nproc_per_node', '2', '--split_log_path', 'pretrained_launched/log', '--start_port', '{port}']
    yield Run('pretrained_launched', ['pretrain_launch.py', *own, '{checkout}/train.py', *argv[1:]])


def _building():
    vocabulary = ['ernie.pretrain.build_vocab', '--input', 'data/corpus.txt', '--processes', '1', '--held_out', '5']
    yield _module('words', *vocabulary, '--output', 'words/vocab.txt', '--report', 'words/report.json', '--size', '60')
    kinds = 'knowledge_masking,sentence_reordering,sentence_distance'
    build = ['ernie.pretrain.build_data', '--input', 'data/corpus.txt', '--vocab_path', 'data/vocab.txt']
    build += ['--max_seq_len', '48', '--valid_share', '0.2']
    yield _module('samples', *build, '--output', 'samples/data', '--shards', '2', '--processes', '2')
    yield _module('samples_of_tasks', *build, '--output', 'samples_of_tasks/data', '--tasks', kinds, '--processes', '1')
    built = {'train_filelist': 'samples_of_tasks/data/train_filelist', 'max_seq_len': 48, 'tasks': kinds}
    built['valid_filelist'] = 'samples_of_tasks/data/valid_filelist'
    yield _pretrain('samples_trained', **built, generate_neg_sample='false')
    yield _module('error_build', *build[:2], 'data/none.txt', *build[3:], '--output', 'error_build/data')
    yield _module('error_builder', *build, '--output', 'error_builder/data', '--tasks', 'colouring')
    yield _module('bundles', 'ernie.zoo', 'list', '--dir', 'bundles/zoo')
    yield Run('learner', ['data/learner.py', 'learner/run', '20'])
    yield Run(
        'learner_resumed',
        ['data/learner.py', 'learner_resumed/run', '30'],
        _copied('learner/run', 'learner_resumed/run'),
    )
    yield _module('demo', 'ernie.pretrain.demo_data', '--folder', 'demo/data')._replace(slow=True)
    quick = {'dir': 'quick/q', 'rows': 40, 'dev_rows': 6, 'test_rows': 6, 'max_seq_len': 16, 'batch_size': 20}
    yield _module('quick', 'ernie.quickstart', *_flags(quick))._replace(slow=True)


def _copied(source, target):
    return lambda: shutil.copytree(source, target)


LAST_READING_STEP = 24


def chains(slow=False):
    """Lists of runs; those of one list build on one another."""
    parts = (_classification, _pretraining, _kinds_of_classification, _reading, _tagging, _building, _wrong_input)
    return [[run for run in part() if slow or not run.slow] for part in parts]
