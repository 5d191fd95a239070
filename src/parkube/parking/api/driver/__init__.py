"""What drivers call: search, quotes, bookings, gates, payment, live news. Under /api/v1/driver."""
