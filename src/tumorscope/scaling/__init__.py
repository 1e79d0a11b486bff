"""Many machines: the work of `predict`, `audit` and `sweep` on a Ray cluster, with the answers of one machine.

`connect` reaches a cluster, `cluster` hands out blocks of work and gets them back in order, `terms` is what every
process there must be like, `shared` checks that all nodes see the same files; `answers`, `reading` and `workers` are
the three works. Only this room knows Ray, and it imports it when it is used.
"""
