"""Fused operators beside those of Paddle and PyTorch: `python -m benchmark.ops`.

Each operator has a module with

- `PASSES`: names of what is timed of a case; `DIGITS`: of the milliseconds in the table;
- `PRECISIONS`: in which fused operators and PyTorch are measured; (None,): what the cases say;
- `cases(args)`: list of tuples, the last item of each being how often its program computes it;
- `build(precision, backward, *case)`: one number that needs every result, so that nothing can be left out of a program
  and nothing is copied in or out;
- `name(*case)`: its row of the table; `operations(*case, timed)`, where there is one: the row is in GFLOPS;
- `TORCH`: the program for PyTorch, see `benchmark.ops.__main__`, and `settings(cases)`, what it reads beside them.
"""
