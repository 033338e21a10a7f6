"""Starts the processes of a data-parallel job and watches over them. Never imports paddle: the processes do.

`job` is the way in; `plan` says who gets which address, device and environment; `ranks` are the processes of this node,
each under `keeper`; `logs` are their files; `peers` are the launchers of the other nodes, `messages` what they say.
"""
