"""Clients of arrays: `InferenceClient` and `InferenceBaseClient` as in 2019, and `AsyncInferenceClient`.

A client program needs numpy and pyzmq, never Paddle.
"""

import asyncio
import collections
import functools
import os
import threading
import time
import weakref

from propeller.errors import UsageError
from propeller.log import get_logger
from propeller.service import calls
from propeller.service.calls import InferenceError
from propeller.service.connection import Endpoint, State, close

__all__ = ['AsyncInferenceClient', 'InferenceBaseClient', 'InferenceClient', 'InferenceError']

log = get_logger(__name__)


class InferenceClient:
    """Calls a server with arrays of any number of rows. May be used by several threads at once, and in notebooks.

    A call is cut into requests of `batch_size` rows; up to `num_coroutine` of them are under way at once, each with a
    connection of its own, which is kept for the next call unless it failed.

    Args:
        address: `tcp://HOST:PORT`.
        batch_size: rows of a request.
        num_coroutine: requests under way at once.
        timeout: seconds after which a request without an answer fails, and the call with it.
        auth_token: token of the server, where it has one.
        server_key, client_key: CURVE keys, see `propeller.service.connection.Endpoint`.
        model: name of the model where the server has several; None: the only one.
    """

    def __init__(
        self,
        address,
        batch_size=128,
        num_coroutine=10,
        timeout=10.0,
        auth_token=None,
        server_key=None,
        client_key=None,
        model=None,
    ):
        _check(batch_size=batch_size, num_coroutine=num_coroutine, timeout=timeout)
        self.batch_size, self.num_coroutine, self.timeout, self._token = batch_size, num_coroutine, timeout, auth_token
        self._endpoint, self.model = Endpoint(address, server_key, client_key), calls.check_model(model)
        self._lock, self._free = threading.Lock(), collections.deque()
        self._context = None

    def __call__(self, *arrays, model=None):
        """The outputs of the model.

        Args:
            arrays: numpy arrays with the same first dimension, in the order of the model's inputs.
            model: name of the model for this call; None: that of the client.
        Returns:
            list of arrays; the results of all rows in order.
        Raises:
            ValueError: what is no array, or arrays that do not fit together.
            InferenceError: a request failed; also a RuntimeError, as in 2019.
        """
        return calls.joined(self._ask_arrays(calls.cut(arrays, self.batch_size), model))

    def close(self):
        """Close all connections; the next call opens new ones."""
        with self._lock:
            free, self._free = self._free, collections.deque()
        for one in free:
            one.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask_arrays(self, requests, model):
        """The answers to requests, lists of arrays."""
        return self._ask(*_messages(self, requests, model))

    def _ask(self, messages, decoded):
        """What `decoded` makes of the answers to messages, in their order."""
        answers, waiting, busy = [None] * len(messages), collections.deque(enumerate(messages)), set()
        try:
            while waiting or busy:
                while waiting and len(busy) < self.num_coroutine:
                    busy.add(one := self._connection())
                    one.send(*waiting.popleft(), self.timeout)
                for one in self._heard(busy):
                    answers[one.place] = decoded(one.answer)
                    busy.discard(one)
                    with self._lock:
                        self._free.append(one)
        finally:
            # Their answers would be taken for those of the next call.
            for one in busy:
                one.close()
        return answers

    def _heard(self, busy):
        """Connections that have an answer; waits for the first."""
        poller = self._endpoint.zmq.Poller()
        for one in busy:
            one.register(poller)
        first = min(one.deadline for one in busy)
        poller.poll(max(int(1000 * (first - time.monotonic())) + 1, 0))
        now = time.monotonic()
        answered = [one for one in busy if one.heard()]
        for one in busy:
            if one not in answered and one.deadline <= now:
                raise calls.silent(self._endpoint.address, self.timeout, one.state.connected)
        return answered

    def _connection(self):
        with self._lock:
            context = self._endpoint.context()
            if self._context is not context:
                self._context, self._free = context, collections.deque()
            free = [self._free.pop() for _ in range(min(1, len(self._free)))]
        for one in free:
            if one.lives():
                return one
            one.close()
        return _Connection(self._endpoint, context)


class InferenceBaseClient(InferenceClient):
    """One request a call, as it is given: the arrays need not share a dimension. Waits `timeout` seconds at most."""

    def __init__(self, address, timeout=10.0, **security):
        super().__init__(address, num_coroutine=1, timeout=timeout, **security)

    def __call__(self, *arrays, model=None):
        """The outputs of the model, list of arrays. For `model` and errors see `InferenceClient`."""
        calls.check_arrays(arrays)
        (answer,) = self._ask_arrays([arrays], model)
        return [array.copy() for array in answer]


class _Connection:
    """A socket with one request under way. place: of the request; deadline: time; answer: bytes."""

    def __init__(self, endpoint, context):
        self._zmq, self._address, self.state = endpoint.zmq, endpoint.address, State(endpoint)
        self._socket, self._events = endpoint.open(context)
        self.close = weakref.finalize(self, close, self._socket, self._events, os.getpid())
        self.place = self.deadline = self.answer = None

    def send(self, place, message, timeout):
        """Send a request. Raises `InferenceError`: no answer will come."""
        self.place, self.deadline = place, time.monotonic() + timeout
        while True:
            try:
                return self._socket.send(message, self._zmq.NOBLOCK)
            except self._zmq.Again:  # the server has ended the connection already; why, its events say
                poller = self._zmq.Poller()
                self.register(poller, self._zmq.POLLOUT)
                poller.poll(max(int(1000 * (self.deadline - time.monotonic())) + 1, 0))
                self._note()
                if time.monotonic() > self.deadline:
                    raise calls.silent(self._address, timeout, self.state.connected) from None

    def register(self, poller, event=None):
        """Have a poller wait for its end, and for an answer, or for another event of the socket."""
        poller.register(self._socket, self._zmq.POLLIN if event is None else event)
        poller.register(self._events, self._zmq.POLLIN)

    def heard(self):
        """Whether the answer is there. Raises `InferenceError`: none will come."""
        try:
            self.answer = self._socket.recv(self._zmq.NOBLOCK)
            return True
        except self._zmq.Again:
            self._note()
            return False

    def lives(self):
        """Whether the connection that was used is still there."""
        try:
            self._note()
        except InferenceError:
            return False
        return True

    def _note(self):
        while self._events.poll(0):
            self.state.note(self._events.recv_multipart()[0])


class AsyncInferenceClient:
    """`InferenceClient` for asyncio: `await client(*arrays)`. The arguments are the same.

    `num_coroutine` is the number of requests under way of all calls together. A call that is cancelled closes its
    connections, by which the server knows that nobody waits. One event loop at a time.
    """

    def __init__(self, address, batch_size=128, num_coroutine=10, timeout=10.0, auth_token=None, model=None, **keys):
        _check(batch_size=batch_size, num_coroutine=num_coroutine, timeout=timeout)
        self.batch_size, self.num_coroutine, self.timeout, self._token = batch_size, num_coroutine, timeout, auth_token
        self._endpoint, self.model = Endpoint(address, **keys), calls.check_model(model)
        self._loop = self._context = self._places = None
        self._free = []

    async def __call__(self, *arrays, model=None):
        """The outputs of the model; see `InferenceClient.__call__`."""
        requests = calls.cut(arrays, self.batch_size)
        return calls.joined(await self._ask(*_messages(self, requests, model)))

    async def _ask(self, messages, decoded):
        self._enter_loop()
        tasks = [asyncio.create_task(self._request(message, decoded)) for message in messages]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self):
        """Close all connections; the next call opens new ones."""
        self._enter_loop()
        free, self._free = self._free, []
        for one in free:
            one.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    def _enter_loop(self):
        import zmq.asyncio

        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._places, self._free = loop, asyncio.Semaphore(self.num_coroutine), []
            self._context = zmq.asyncio.Context(self._endpoint.context())

    async def _request(self, message, decoded):
        async with self._places:
            one = self._connection()
            try:
                async with asyncio.timeout(self.timeout):
                    answer = await one.answer(message)
            except TimeoutError:
                one.close()
                raise calls.silent(self._endpoint.address, self.timeout, one.state.connected) from None
            except BaseException:
                one.close()
                raise
            self._free.append(one)
            return decoded(answer)

    def _connection(self):
        while self._free:
            one = self._free.pop()
            if not one.fate.done():
                return one
            one.close()
        return _AsyncConnection(self._endpoint, self._context)


class _AsyncConnection:
    """fate: task that ends, with an error, when the connection does."""

    def __init__(self, endpoint, context):
        self.state = State(endpoint)
        self._socket, self._events = endpoint.open(context)
        self._left = weakref.finalize(
            self, close, self._socket, self._events, os.getpid(), endpoint.zmq.Socket
        )  # by a client that was not closed, after its loop
        self.fate = asyncio.create_task(self._listen())

    async def _listen(self):
        while True:
            self.state.note((await self._events.recv_multipart())[0])

    async def answer(self, message):
        """The bytes of the answer. Raises `InferenceError`: none will come."""
        received = asyncio.ensure_future(self._exchanged(message))
        try:
            await asyncio.wait((received, self.fate), return_when=asyncio.FIRST_COMPLETED)
            if not received.done():
                self.fate.result()
            return received.result()
        finally:
            if not received.done():
                received.cancel()

    async def _exchanged(self, message):
        await self._socket.send(message)  # waits where the server has ended the connection already
        return await self._socket.recv()

    def close(self):
        self.fate.cancel()
        if self.fate.done() and not self.fate.cancelled():
            self.fate.exception()  # it was told, or nobody asked
        if self._left.detach():
            close(self._socket, self._events)


def _messages(client, requests, model):
    """(bytes of the messages of requests, list; function that reads an answer)."""
    model = client.model if model is None else calls.check_model(model)
    messages = [calls.encoded(request, client.timeout, client._token, model) for request in requests]
    return messages, functools.partial(calls.decoded, model=model)


def _check(**numbers):
    for name, value in numbers.items():
        if not value > 0:
            raise UsageError(f'{name}: found {value}, expected a number above 0.')
