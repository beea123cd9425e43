"""The page of the workbench about training runs; `calibration.workbench.PAGES` names it."""
