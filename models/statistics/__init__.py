"""Statistics: metrics, calibration, splits, the bootstrap, logistic regression."""
