"""Cards after calibration: compared, exported, traced to their netlists."""
