"""What `benchmark.serving` compares with: a FastAPI server around `BertModel` of transformers, as such servers are.

    PYTHON -m benchmark.serving_rival --model FOLDER --port 8090 --batching none|time

It runs where PyTorch, transformers, fastapi and uvicorn are, and needs nothing of this repository. POST /v1/embed takes
`{"texts": [...]}` and gives `{"results": [[...], ...]}`, the mean of the last layer over the tokens of each text.

- `none`: each request is one batch, computed in a pool of `--workers` threads.
- `time`: what comes within `--window_ms` after the first is one batch, of `--most` texts at most, padded to its longest
  text and computed while the next one gathers.

`--dtype auto` is bfloat16 where the processor multiplies it, else float32.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib


class Encoder:
    """The model. `vectors` is called by several threads at once."""

    def __init__(self, folder, dtype, longest):
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=dtype).eval()
        self.longest = longest

    def vectors(self, texts):
        """list of lists of floats, one for each text."""
        import torch

        with torch.inference_mode():
            tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=self.longest, return_tensors='pt')
            hidden = self.model(**tokens).last_hidden_state.float()
            mask = tokens['attention_mask'][:, :, None].float()
            return ((hidden * mask).sum(1) / mask.sum(1)).tolist()


class ByTime:
    """Batches of what comes within a window of time."""

    def __init__(self, compute, window, most):
        self._compute, self._window, self._most = compute, window, most
        self._queue = asyncio.Queue()

    async def vectors(self, texts):
        answered = asyncio.get_running_loop().create_future()
        await self._queue.put((texts, answered))
        return await answered

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            deadline = loop.time() + self._window
            while sum(len(texts) for texts, _ in batch) < self._most:
                try:
                    async with asyncio.timeout_at(deadline):
                        batch.append(await self._queue.get())
                except TimeoutError:
                    break
            results = iter(await self._compute([text for texts, _ in batch for text in texts]))
            for texts, answered in batch:
                if not answered.done():
                    answered.set_result([next(results) for _ in texts])


def create_app(encoder, batching, workers, window, most):
    """The application."""
    import fastapi
    import pydantic

    class Texts(pydantic.BaseModel):
        texts: list[str]

    pool = concurrent.futures.ThreadPoolExecutor(workers)

    async def compute(texts):
        return await asyncio.get_running_loop().run_in_executor(pool, encoder.vectors, texts)

    by_time = None

    @contextlib.asynccontextmanager
    async def lifespan(app):
        nonlocal by_time
        by_time = ByTime(compute, window, most)
        runs = [asyncio.create_task(by_time.run()) for _ in range(workers)]
        yield
        for run in runs:
            run.cancel()

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.post('/v1/embed')
    async def embed(body: Texts):
        results = await (by_time.vectors if batching == 'time' else compute)(body.texts)
        return {'results': results}

    @app.get('/readyz')
    async def ready():
        return {}

    return app


def best_dtype():
    """bfloat16 where the processor multiplies it."""
    import torch

    if torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', required=True, help='folder of the model, Hugging Face layout')
    parser.add_argument('--port', type=int, required=True)
    parser.add_argument('--batching', choices=('none', 'time'), default='none')
    parser.add_argument('--workers', type=int, default=1, help='batches at once (default: 1)')
    parser.add_argument('--threads', type=int, default=2, help='threads of a batch (default: 2)')
    parser.add_argument('--window_ms', type=float, default=5.0)
    parser.add_argument('--most', type=int, default=32, help='texts of a batch (default: 32)')
    parser.add_argument('--max_seq_len', type=int, default=128)
    parser.add_argument('--dtype', choices=('auto', 'bf16', 'fp32'), default='auto')
    args = parser.parse_args()
    import torch
    import uvicorn

    torch.set_num_threads(args.threads)
    dtype = {'auto': best_dtype(), 'bf16': torch.bfloat16, 'fp32': torch.float32}[args.dtype]
    encoder = Encoder(args.model, dtype, args.max_seq_len)
    encoder.vectors(['a first text'])
    print(f'dtype {dtype}', flush=True)
    app = create_app(encoder, args.batching, args.workers, args.window_ms / 1000, args.most)
    uvicorn.run(app, host='127.0.0.1', port=args.port, log_level='warning')


if __name__ == '__main__':
    main()
