"""What `benchmark.cpp_text` compares with: texts in, labels out, in PyTorch and transformers.

    PYTHON benchmark/cpp_rival.py --model FOLDER --texts FILE --precision fp32|bf16 --threads 2 --passes 3

It runs where PyTorch and transformers are, and needs nothing of this repository. A pass cuts all texts into tokens,
sorts them by length, computes batches of 32 padded to their longest row, and gives a label and probabilities for each
text, in order. `bf16` is a model whose weights are bfloat16. The last line is JSON: `first`, the seconds of the first
pass, `passes`, those of the others, and `probabilities`.
"""

import argparse
import json
import time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', required=True, help="folder in Hugging Face's layout")
    parser.add_argument('--texts', required=True, help='JSON list of texts')
    parser.add_argument('--precision', choices=('fp32', 'bf16'), default='fp32')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--passes', type=int, default=3)
    parser.add_argument('--longest', type=int, default=128)
    args = parser.parse_args()

    import torch
    import transformers

    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    dtype = torch.bfloat16 if args.precision == 'bf16' else torch.float32
    model = transformers.BertForSequenceClassification.from_pretrained(args.model, dtype=dtype).eval()
    with open(args.texts, encoding='utf-8') as f:
        texts = json.load(f)

    def run():
        rows = tokenizer(texts, truncation=True, max_length=args.longest)
        order = sorted(range(len(texts)), key=lambda i: len(rows['input_ids'][i]))
        results = [None] * len(texts)
        for begin in range(0, len(order), 32):
            chosen = order[begin : begin + 32]
            batch = tokenizer.pad({name: [rows[name][i] for i in chosen] for name in rows}, return_tensors='pt')
            with torch.inference_mode():
                shares = model(**batch).logits.float().softmax(-1)
            labels = shares.argmax(-1).tolist()
            for i, label, row in zip(chosen, labels, shares.tolist(), strict=True):
                results[i] = model.config.id2label[label], row
        return results

    def timed():
        started = time.perf_counter()
        results = run()
        return time.perf_counter() - started, results

    first, results = timed()
    passes = [timed()[0] for _ in range(args.passes)]
    print(json.dumps({'first': first, 'passes': passes, 'probabilities': [row for _, row in results]}))


if __name__ == '__main__':
    main()
