"""What a garage's owner and their staff call: garages, bookings, money, staff. Under /api/v1/owner, by their roles."""
