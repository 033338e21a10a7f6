"""Starts the processes of a data-parallel job and watches over them. Never imports paddle: the processes do.

`job` is the way in; `plan` says who gets which address, device and environment; `ranks` are the processes of this node,
each under `keeper`; `logs` are their files, `ports` what the launcher holds for them; `store` is where they find each
other, served by the first one (`propeller.rendezvous`); `peers` are the launchers of the other nodes, `messages` what
they say.
"""
