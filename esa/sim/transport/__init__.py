"""How what ranks REDUCE and SEND moves in virtual time: bytes become packets, and packets become sums and messages.

    ina                       a sum by the hosts' own state machines and the switches: `endpoints.py`, `payload.py`
    ring, halving-doubling    a sum as messages between its ranks: `steps.py` lays them out, `exchange.py` takes them
    a message                 one flow's, between two hosts: `flow.py`, `flow_send.py`, its packets `connections.py`

It knows jobs' windows and timers, packets, what was lost and what is to be sent again, and how much may be under way.
It does not know programs of operations, which `ranks.py` runs, nor cables, queues, switches and the clock: it is given
packets and times, and gives packets and the time to be asked again at the latest. The event loop carries them.
"""
