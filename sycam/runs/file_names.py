"""Names of files that folders of runs and of ensembles are told by, without opening them."""

RESULT_FILE = "result.json"
CANDIDATES_FILE = "candidates.csv"
REPORT_FILE = "report.html"
ENSEMBLE_FILE = "ensemble.json"
