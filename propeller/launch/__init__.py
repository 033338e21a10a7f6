"""Starts the processes of a data-parallel job and watches over them. Never imports paddle: the processes do.

- `command`: the command line; `job`: one launcher's life; `plan`: addresses, devices and environment of the processes.
- `ranks`: the processes of this node, each under `watchdog`; `logs`: their files; `signals`: Ctrl-C, ends of processes.
- `machine`, `devices`, `ports`: what this machine has, and what of it the job takes.
- `peers`, `nodes`, `messages`: the launchers of several nodes, and what they say to each other.
- `store`: where the processes find each other, served by the first one (`propeller.rendezvous`).
"""
