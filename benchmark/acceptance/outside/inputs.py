"""Small valid inputs."""

import numpy as np

CONFIG = {
    'vocab_size': 12,
    'hidden_size': 4,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'max_position_embeddings': 16,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.02,
}
HUGGINGFACE = CONFIG | {
    'model_type': 'bert',
    'architectures': ['BertForSequenceClassification'],
    'layer_norm_eps': 1e-12,
}
HUGGINGFACE |= {'id2label': {'0': '差', '1': '好'}, 'label2id': {'差': 0, '好': 1}}
WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'今天好热', 'bad', '##ly', 'x']
VOCABULARY = ''.join(f'{word}\n' for word in WORDS).encode()
LABELS = {
    'task': 'classification',
    'kind': 'classify',
    'max_seq_len': 16,
    'tokenizer': 'FullTokenizer',
    'task_id': 0,
    'do_lower_case': True,
    'for_cn': True,
    'num_labels': 2,
    'labels': ['0', '1'],
    'label_map': {'0': 0, '1': 1},
}
SQUAD = {'version': 'x', 'data': [{'title': 't', 'paragraphs': [{'context': '今天很热。', 'qas': [
    {'id': 'q1', 'question': '怎样？', 'answers': [{'text': '热', 'answer_start': 3}]},
    {'id': 'q2', 'question': '何时？', 'answers': [], 'is_impossible': True}]}]}]}  # fmt: skip
STATE = {
    'updates': 4,
    'loss_scale': {'scale': 1024.0, 'good': 3, 'bad': 0},
    'seed': 3,
    'global_step': 4,
    'epoch': 0,
    'random_states': [{'cpu': [-1, 3, 0, [49, 32, 50]]}],
    'data_position': {'epoch': 0, 'batch': 1, 'seed': 0, 'rows': 3, 'batch_size': 2, 'in_tokens': False, 'window': 0},
    'hooks': {'training_log': {'epoch': 0, 'rows_done': 8}, 'evaluation': {'best': 0.5, 'best_step': 4, 'worse': 0}},
}
SCHEDULE = {
    'tasks': {'knowledge_masking': {'filelist': 'a'}, 'sentence_reordering': {'filelist': 'b', 'classes': 33}},
    'stages': [
        {'steps': {'knowledge_masking': 20}},
        {'steps': {'knowledge_masking': 10, 'sentence_reordering': 30}, 'learning_rate': 5e-5, 'warmup_steps': 4},
    ],
}
YAML = b"""tasks: &t
  knowledge_masking: {filelist: a}
  sentence_reordering: {filelist: b, classes: 33}
stages:
  - steps: {knowledge_masking: 20}
  - steps: {knowledge_masking: 10, sentence_reordering: 30}
    learning_rate: 5.0e-5
    warmup_steps: 4
"""
RUN_YAML = b"""# a run
version: 1
program: finetune classification
epoch: 3
learning_rate: 5e-05
dev_set: [a.tsv, "b\\U0001f600.tsv"]
class_weights: balanced
do_train: true
num_labels: null
null_score_diff_threshold: "-inf"
"""
TSV = 'text_a\ttext_b\tlabel\tqid\n今天 好\tbad\t1\t5\n热\tx\t0\t6\nbad\t天\t1\t7\n'.encode()
CSV = 'text,label\n"今天, ""好""",1\n热,0\n'.encode()
CONLL = '今 O\n天 B-T\n好 I-T\n\nbad B-T\nx O\n'.encode()
TAGS = {'B-T': 0, 'I-T': 1, 'O': 2}
SAMPLES = b'1 5 6 2 7 8 2;0 0 0 0 1 1 1;0 1 2 3 4 5 6;-1 0 1 -1 0 0 -1;1\n' * 5
ARRAYS = {'word_embedding': np.ones((12, 4), np.float32), 'b': np.arange(3, dtype=np.float16), 'n': np.int64(7)}
