"""The whole cluster in one thread on a simulated clock; every run follows from one number."""
