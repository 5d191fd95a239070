"""What the fleet's operator calls, a program in the cluster and a page alike. Under /api/v1/operator, by one token."""
