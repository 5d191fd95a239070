"""Jobs and CronJobs: pods that are to end well so many times, and the times at which to start that."""
