"""Servers of models: a front process that admits, batches and answers, and worker processes that compute.

`core` is what every protocol stands on; `slots` is the message of 2019. The front process never loads Paddle.
"""
