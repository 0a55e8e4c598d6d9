"""The attack kit: what strangers may try against a node, each with what has to hold.

Everything is played from outside: processes run ``python -m p2p_plain``, and the attackers speak the wire
as ``conformity`` does, without a line of the package.

In reading order:

``verdict``   what can become of an attack, and the list of all of them
``world``     a network of this program's own, in which every address is a host that we may speak for
``node``      a node under attack: its process, its events, its page, its memory
``stranger``  one connection with it, or many
``doors``     listening sockets that a node may be made to dial
``attacks``   the attacks, one module for each kind
``run``       plays them, most of them side by side
"""
