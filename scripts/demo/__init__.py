"""The demonstration on one machine: a server, garages in network namespaces, and taking it all away again.

`make up`, `make down` and the end-to-end tests use it. It only starts what a person would start by hand.
"""
