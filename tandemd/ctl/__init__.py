"""tandemctl: the operators' command. It uses a node's administration API, and checks configuration and servers itself."""
