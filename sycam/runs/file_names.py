"""Names of files in a run's folder, for whoever looks for them without opening them."""

RESULT_FILE = "result.json"
CANDIDATES_FILE = "candidates.csv"
REPORT_FILE = "report.html"
