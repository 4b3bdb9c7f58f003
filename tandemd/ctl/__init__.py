"""tandemctl: what operators type. It asks a node's administration API, and looks at configuration and servers itself."""
