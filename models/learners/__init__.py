"""What the learners share: trees, calibration, measures, splits of time."""
