"""The floor of ``python -m p2p_plain tour``: real nodes in one program, shown scene by scene.

The tour is for people who know Python and have never opened a socket.  A scene does something,
waits until it shows, and then says what happened.  All figures and lines come from the nodes.

Read in this order:

    ``tour``      the command: the list of scenes, the beginning and the end
    ``meeting``   scenes 1 to 5: listening, dialing, discovery, oneself, a tie
    ``trouble``   scenes 6 and 7: peers that die, peers that lie
    ``door``      scene 8: a secret, and a stranger at the door
    ``whole``     scenes 9 and 10: the matrix, stopping
    ``cast``      nodes, strangers made of a bare socket, and cables
    ``guide``     what a scene can do: start, wait, show, explain
    ``reader``    the terminal: text, Enter, and leaving at any moment
"""
