"""The pod network of one node: the CNI configuration and the Services' nftables rules."""
