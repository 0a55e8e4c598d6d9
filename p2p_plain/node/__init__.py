"""The node of the article: bootstrap, hello, ping, discovery, in plain sockets and threads."""
